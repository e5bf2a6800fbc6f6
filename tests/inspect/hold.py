#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""hold.py TID: holds a thread by ptrace, as a debugger does, until one of them is ended.

It says "held", or "refused" where that is not allowed.
"""
import ctypes
import os
import sys

SEIZE, INTERRUPT, WALL = 0x4206, 0x4207, 0x40000000

tid = int(sys.argv[1])
ptrace = ctypes.CDLL(None).ptrace
ptrace.argtypes = [ctypes.c_long] * 4
ptrace.restype = ctypes.c_long
held = ptrace(SEIZE, tid, 0, 0) == 0 and ptrace(INTERRUPT, tid, 0, 0) == 0
if held:
    os.waitpid(tid, WALL)
print("held" if held else "refused", flush=True)
while held:  # its parent is told of its end when we have been
    _, status = os.waitpid(tid, WALL)
    held = os.WIFSTOPPED(status)
