# SPDX-License-Identifier: BSD-3-Clause
#
# The SQL of the snapshot files: as C strings for goinspect, and installed to be read.  Included by
# inspect/CMakeLists.txt, because a generated file belongs to the folder of its target.
set(SCHEMA_DIR ${CMAKE_CURRENT_LIST_DIR})
set(SCHEMA_SQL_C ${CMAKE_CURRENT_BINARY_DIR}/schema_sql.c)
add_custom_command(
  OUTPUT ${SCHEMA_SQL_C}
  COMMAND ${CMAKE_COMMAND} -DOUT=${SCHEMA_SQL_C} -DDIR=${SCHEMA_DIR}
          -DNAMES=tables,tables_heap,tables_escape,tables_leak,tables_pins,tables_resident,tables_fragmentation,tables_crash,live,views,views_heap,views_escape,views_history,views_diff,views_leak,views_pins,views_resident,views_fragmentation,views_crash
          -P ${SCHEMA_DIR}/embed.cmake
  DEPENDS ${SCHEMA_DIR}/tables.sql ${SCHEMA_DIR}/tables_heap.sql ${SCHEMA_DIR}/tables_escape.sql
          ${SCHEMA_DIR}/tables_leak.sql ${SCHEMA_DIR}/views_leak.sql
          ${SCHEMA_DIR}/live.sql ${SCHEMA_DIR}/views.sql ${SCHEMA_DIR}/views_heap.sql
          ${SCHEMA_DIR}/views_escape.sql ${SCHEMA_DIR}/views_history.sql ${SCHEMA_DIR}/tables_pins.sql
          ${SCHEMA_DIR}/views_diff.sql ${SCHEMA_DIR}/tables_crash.sql ${SCHEMA_DIR}/views_crash.sql
          ${SCHEMA_DIR}/views_pins.sql ${SCHEMA_DIR}/tables_resident.sql
          ${SCHEMA_DIR}/views_resident.sql ${SCHEMA_DIR}/views_fragmentation.sql
          ${SCHEMA_DIR}/tables_fragmentation.sql ${SCHEMA_DIR}/embed.cmake
  VERBATIM)
install(FILES ${SCHEMA_DIR}/tables.sql ${SCHEMA_DIR}/tables_heap.sql ${SCHEMA_DIR}/tables_escape.sql
              ${SCHEMA_DIR}/live.sql ${SCHEMA_DIR}/views.sql ${SCHEMA_DIR}/views_heap.sql
              ${SCHEMA_DIR}/views_escape.sql ${SCHEMA_DIR}/views_history.sql
              ${SCHEMA_DIR}/views_diff.sql ${SCHEMA_DIR}/tables_crash.sql ${SCHEMA_DIR}/views_crash.sql
              ${SCHEMA_DIR}/tables_pins.sql ${SCHEMA_DIR}/views_pins.sql
              ${SCHEMA_DIR}/tables_resident.sql ${SCHEMA_DIR}/views_resident.sql
              ${SCHEMA_DIR}/tables_fragmentation.sql ${SCHEMA_DIR}/views_fragmentation.sql
              ${SCHEMA_DIR}/tables_leak.sql ${SCHEMA_DIR}/views_leak.sql
        DESTINATION ${CMAKE_INSTALL_DATADIR}/gomalloc/schema)
