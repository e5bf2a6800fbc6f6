# SPDX-License-Identifier: BSD-3-Clause
#
# Writes wrappers.txt as the NUL-terminated byte array of wrapper.h into a C file.
file(READ "${IN}" hex HEX)
string(REGEX REPLACE "(................................)" "\\1\n" hex "${hex}")
string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${hex}")
file(WRITE "${OUT}" "/* Made from inspect/names/wrappers.txt. */\n#include \"names/wrapper.h\"\n"
                    "const char wrapper_builtin[] = {\n${bytes}0};\n")
