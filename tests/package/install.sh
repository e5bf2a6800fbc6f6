#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Installs into an empty folder, and links a program by pkg-config and by find_package(Gomalloc).
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cmake --install "$BUILD_DIR" --prefix "$work/usr" >/dev/null
cd "$work"

cat >main.c <<'END'
#include <gomalloc/gomalloc.h>
#include <stdlib.h>
#include <string.h>

int main(void) {
    free(gomalloc_alloc(100, GOMALLOC_ZERO));
    return strcmp(gomalloc_version(), GOMALLOC_VERSION);
}
END
mkdir cmake
cat >cmake/CMakeLists.txt <<'END'
cmake_minimum_required(VERSION 3.25)
project(user C)
find_package(Gomalloc 0.1 REQUIRED)
add_executable(user ../main.c)
target_link_libraries(user PRIVATE Gomalloc::gomalloc)
END

lib=$(dirname "$(find usr -name libgomalloc.so)")
for name in libgomalloc.so libgomalloc.so.0; do
    [ -e "$lib/$name" ] || {
        echo "$name is not installed"
        exit 1
    }
done
for page in man1/goinspect.1 man3/gomalloc.3 man5/gomalloc-image.5 man5/gomalloc-schema.5 \
    man7/gomalloc.7; do
    [ -s "usr/share/man/$page" ] || {
        echo "$page is not installed"
        exit 1
    }
done
usr/bin/goinspect --version

export PKG_CONFIG_PATH=$work/$lib/pkgconfig LD_LIBRARY_PATH=$work/$lib
# shellcheck disable=SC2046
cc -o by-pkg-config main.c $(pkg-config --define-variable=prefix="$work/usr" --cflags --libs gomalloc)
./by-pkg-config
cmake -G Ninja -S cmake -B build -DCMAKE_PREFIX_PATH="$work/usr" >/dev/null
cmake --build build >/dev/null
build/user
readelf -d build/user | grep -q 'NEEDED.*libgomalloc\.so\.0'
