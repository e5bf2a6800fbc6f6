/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The texts of schema/NAME.sql, built into goinspect by embed.cmake.
 */
#ifndef GOINSPECT_SCHEMA_SQL_H
#define GOINSPECT_SCHEMA_SQL_H

extern const char schema_tables_sql[];        /* the tables of a snapshot file */
extern const char schema_tables_heap_sql[];   /* those that user_version 1 did not have */
extern const char schema_tables_escape_sql[]; /* nor 2 */
extern const char schema_tables_leak_sql[];   /* nor these */
extern const char schema_tables_pins_sql[];   /* the same */
extern const char schema_tables_resident_sql[];
extern const char schema_tables_fragmentation_sql[];
extern const char schema_tables_crash_sql[];
extern const char schema_live_sql[];  /* the same as views over the virtual tables of an image */
extern const char schema_views_sql[]; /* the v1_* views, over either */
extern const char schema_views_heap_sql[];
extern const char schema_views_escape_sql[];
extern const char schema_views_history_sql[];
extern const char schema_views_diff_sql[];
extern const char schema_views_leak_sql[];
extern const char schema_views_pins_sql[];
extern const char schema_views_resident_sql[];
extern const char schema_views_fragmentation_sql[];
extern const char schema_views_crash_sql[];

#endif
