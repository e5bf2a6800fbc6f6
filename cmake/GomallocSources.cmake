# SPDX-License-Identifier: BSD-3-Clause
#
# gomalloc_sources(OUT FOLDER file...) sets OUT to the files, which are listed by hand, and compares
# the list with the *.c and *.cc files of the folder: a file that somebody forgot to list, or
# to add, stops the configuration instead of being left out of the library in silence.

function(gomalloc_sources out folder)
  set(prefix ${folder}/)
  if(folder STREQUAL ".")
    set(prefix "")
  endif()
  set(listed)
  foreach(file IN LISTS ARGN)
    if(EXISTS ${CMAKE_CURRENT_SOURCE_DIR}/${prefix}${file})
      list(APPEND listed ${prefix}${file})
    else()
      message(STATUS "${prefix}${file} is listed and does not exist")
    endif()
  endforeach()
  file(GLOB present RELATIVE ${CMAKE_CURRENT_SOURCE_DIR}/${folder} CONFIGURE_DEPENDS
       ${CMAKE_CURRENT_SOURCE_DIR}/${folder}/*.c ${CMAKE_CURRENT_SOURCE_DIR}/${folder}/*.cc)
  foreach(file IN LISTS present)
    if(NOT file IN_LIST ARGN AND NOT file MATCHES "^mk")
      message(STATUS "${prefix}${file} exists and is not listed")
      list(APPEND listed ${prefix}${file})
    endif()
  endforeach()
  set(${out} ${listed} PARENT_SCOPE)
endfunction()
