"""The process boundary: nothing a backend does can reach the pytest process but a reply."""
