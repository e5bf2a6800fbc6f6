# SPDX-License-Identifier: BSD-3-Clause
#
# SPDX-License-Identifier: BSD-3-Clause
#
# Writes each SQL file as a NUL-terminated byte array `schema_NAME_sql` into one C file.
string(REPLACE "," ";" NAMES "${NAMES}")
set(text "/* Made by schema/embed.cmake from the .sql files of schema/. */\n#include \"schema_sql.h\"\n")
foreach(name ${NAMES})
  file(READ "${DIR}/${name}.sql" hex HEX)
  string(REGEX REPLACE "(................................)" "\\1\n" hex "${hex}")
  string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${hex}")
  string(APPEND text "const char schema_${name}_sql[] = {\n${bytes}0};\n")
endforeach()
file(WRITE "${OUT}" "${text}")
