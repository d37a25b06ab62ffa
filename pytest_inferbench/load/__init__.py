"""Making load on a server, and what came of it. Knows no gate and no budget."""
