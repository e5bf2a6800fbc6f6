# SPDX-License-Identifier: BSD-3-Clause
#
# The compiler flags, in one place.
#
#   gomalloc_warnings   for programs that run while building
#   gomalloc_flags      for all other code of ours: that, and sanitizers
#   gomalloc_lib_flags  for the layers of the library: that, and how they are built and found
#
# GOMALLOC_PRELOADABLE says whether libgomalloc.so is built.  It is not when the code is
# instrumented: a sanitizer has an allocator of its own and must come first in the process, and
# the counters of coverage and libFuzzer use stdio.  Then the layers are tested as objects linked
# into unit tests, which is what the instrumented presets are for.

set(CMAKE_C_STANDARD 11)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_C_EXTENSIONS ON)
set(CMAKE_CXX_STANDARD 17)
set(CMAKE_CXX_EXTENSIONS ON)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_C_FLAGS_RELWITHDEBINFO "-O2 -g")
set(CMAKE_CXX_FLAGS_RELWITHDEBINFO "-O2 -g")
set(CMAKE_C_FLAGS_DEBUG "-Og -g")
set(CMAKE_CXX_FLAGS_DEBUG "-Og -g")
if(GOMALLOC_SANITIZE) # nobody waits for it to run, but for it to be built
  set(CMAKE_C_FLAGS_RELWITHDEBINFO "-O1 -g")
  set(CMAKE_CXX_FLAGS_RELWITHDEBINFO "-O1 -g")
endif()

add_library(gomalloc_warnings INTERFACE)
target_compile_definitions(gomalloc_warnings INTERFACE _GNU_SOURCE)
target_compile_options(
  gomalloc_warnings
  INTERFACE -Wall -Wextra -Wshadow -fno-omit-frame-pointer
            -momit-leaf-frame-pointer
            $<$<COMPILE_LANGUAGE:C>:-Wstrict-prototypes> $<$<COMPILE_LANGUAGE:C>:-Wmissing-prototypes>)
if(GOMALLOC_WERROR)
  target_compile_options(gomalloc_warnings INTERFACE -Werror)
endif()

add_library(gomalloc_flags INTERFACE)
target_link_libraries(gomalloc_flags INTERFACE gomalloc_warnings)

# To be linked after gomalloc_flags: the last flag counts, and a target's own come before.
add_library(gomalloc_no_frame_pointers INTERFACE)
target_compile_options(gomalloc_no_frame_pointers INTERFACE -fomit-frame-pointer)

if(GOMALLOC_DEBUG)
  target_compile_definitions(gomalloc_flags INTERFACE GOMALLOC_DEBUG)
endif()

set(GOMALLOC_PRELOADABLE ON)
set(GOMALLOC_INSTRUMENT "")
if(GOMALLOC_SANITIZE)
  list(APPEND GOMALLOC_INSTRUMENT -fsanitize=${GOMALLOC_SANITIZE} -fno-sanitize-recover=all)
endif()
if(GOMALLOC_SANITIZE MATCHES "thread" AND CMAKE_C_COMPILER_ID STREQUAL "GNU")
  # It does not understand fences; what they order are atomics all the same.
  list(APPEND GOMALLOC_INSTRUMENT -Wno-tsan)
endif()
if(GOMALLOC_COVERAGE)
  list(APPEND GOMALLOC_INSTRUMENT --coverage)
endif()
if(GOMALLOC_FUZZ)
  if(NOT CMAKE_C_COMPILER_ID MATCHES "Clang")
    message(FATAL_ERROR "GOMALLOC_FUZZ needs clang: use the preset fuzz")
  endif()
  list(APPEND GOMALLOC_INSTRUMENT -fsanitize=fuzzer-no-link)
endif()
if(GOMALLOC_INSTRUMENT)
  set(GOMALLOC_PRELOADABLE OFF)
  target_compile_options(gomalloc_flags INTERFACE ${GOMALLOC_INSTRUMENT})
  target_link_options(gomalloc_flags INTERFACE ${GOMALLOC_INSTRUMENT})
endif()

# -iquote and not -I: with -I lib, lib/sys would stand before <sys/...>.
# initial-exec: any other TLS model calls __tls_get_addr, which may allocate.
# -fno-builtin-*: a compiler that knows malloc may remove or merge calls inside malloc itself.
add_library(gomalloc_lib_flags INTERFACE)
target_link_libraries(gomalloc_lib_flags INTERFACE gomalloc_flags)
target_include_directories(gomalloc_lib_flags INTERFACE ${PROJECT_SOURCE_DIR}/lib/include)
target_compile_options(
  gomalloc_lib_flags
  INTERFACE "SHELL:-iquote ${PROJECT_SOURCE_DIR}/lib" "SHELL:-iquote ${PROJECT_BINARY_DIR}/lib"
            -fvisibility=hidden
            -ftls-model=initial-exec
            -fno-builtin-malloc
            -fno-builtin-calloc
            -fno-builtin-realloc
            -fno-builtin-free)
