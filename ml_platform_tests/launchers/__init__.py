"""Tests of launchers.

`HELD` names the file, in the folder of marks, that keeps an asset at work.
"""

HELD = "held_{}"
