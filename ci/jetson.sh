#!/usr/bin/env bash
# Make a Jetson ready to be measured, or fail: power mode set and checked, clocks locked, warmed up.
#
#   bash ci/jetson.sh NAME NUMBER SOAK_S
#   bash ci/jetson.sh 15W 0 300
#
# NAME and NUMBER are those of a mode in /etc/nvpmodel.conf: numbers differ from module to module,
# so the name is what is checked. SOAK_S is how long every core and the memory work before anything is
# timed: a cold module is faster than the one that your users have. Exit 1 where the mode is another.
set -euo pipefail

name=$1 number=$2 soak_s=${3:-300}
store=${INFERBENCH_CLOCKS:-$HOME/.jetsonclocks.inferbench}

mode() { sudo nvpmodel -q | sed -n 's/^NV Power Mode: *//p'; }
# The hottest zone, in thousandths of a degree; some zones cannot be read while they are off.
hottest() { cat /sys/class/thermal/thermal_zone*/temp 2> /dev/null | sort -n | tail -1; }

if [ "$(mode)" != "$name" ]; then
  # A mode that asks for a reboot must not be answered from here: the job would hang.
  echo NO | sudo nvpmodel -m "$number" || true
fi
if [ "$(mode)" != "$name" ]; then
  echo "the power mode is '$(mode)' and not '$name': set it by hand (it may need a reboot)" >&2
  exit 1
fi

[ -e "$store" ] || sudo jetson_clocks --store "$store"
sudo jetson_clocks
sudo jetson_clocks --show

echo "soaking for $soak_s s, at $(hottest) mC"
python3 - "$soak_s" << 'END'
import multiprocessing
import sys
import time

import numpy as np


def work(until):
    a = np.ones((512, 512), np.float32)
    while time.time() < until:
        a @ a


until = time.time() + float(sys.argv[1])
with multiprocessing.Pool() as pool:
    pool.map(work, [until] * multiprocessing.cpu_count())
END
echo "soaked, at $(hottest) mC"
