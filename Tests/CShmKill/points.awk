# SPDX-License-Identifier: Apache-2.0
#
# Assembly in, assembly out. After each call that may change what another process sees, adds a
# `struct point` (knife.h) to the section `points`: the list of places to cut at.
#
# Such calls are what -fsanitize=thread makes of stores and atomic read-modify-writes; and memory
# functions, operations on mutexes and system calls, which are sent to knife.c under another name.

BEGIN {
    stores = "__tsan_(unaligned_|volatile_)*write[0-9]+|__tsan_write_range" \
        "|__tsan_atomic[0-9]+_(store|exchange|fetch_[a-z]+|compare_exchange_[a-z]+)"
    calls = "memcpy|memmove|memset|pthread_mutex_(init|lock|trylock|clocklock|unlock|consistent)" \
        "|fallocate(64)?|ftruncate(64)?|linkat|unlink|fcntl(64)?|close|syscall|sendto"
    renamed = "^(" calls "|mmap|munmap|getrandom)$"
    wanted = "^(" stores "|" calls ")$"
}

# .file 1 "directory" "name" md5 ...: what the numbers of .loc mean
$1 == ".file" && $2 ~ /^[0-9]+$/ {
    split($0, quoted, "\"")
    path = quoted[4] ~ /^[^ ]/ ? (quoted[4] ~ /^\// ? quoted[4] : quoted[2] "/" quoted[4]) : quoted[2]
    path_of[$2] = path
}

$1 == ".loc" {
    path = path_of[$2]
    line = $3 > 0 ? $3 : line
}

/^[A-Za-z_][A-Za-z0-9_.]*:/ {
    within = $1
    sub(/[.:].*/, "", within)
}

$1 ~ /^(callq?|bl)$/ {
    callee = $2
    sub(/@.*/, "", callee)
    if (sub(/^__tsan_mem/, "mem", callee)) { # Clang's name for what the program asked for
        sub(/__tsan_mem/, "mem")
    }
    if (callee ~ renamed) {
        sub(callee, "knife_" callee)
    }
    print
    if (callee ~ wanted) {
        add_point(callee)
    }
    next
}

{
    print
}

function add_point(callee,    label) {
    label = ".Lpoint" ++count
    print label ":"
    print "\t.pushsection .rodata.points, \"a\""
    print label "c:\t.asciz \"" callee "\""
    print label "w:\t.asciz \"" within "\""
    print label "p:\t.asciz \"" path "\""
    print label "t:\t.asciz \"" source_line(path, line) "\""
    print "\t.popsection"
    print "\t.pushsection points, \"aw\""
    print "\t.balign 8"
    print "\t.quad " label ", " label "c, " label "w, " label "p, " label "t, " line + 0
    print "\t.popsection"
}

function source_line(path, line,    text, number) {
    if (!(path in read)) {
        read[path] = 1
        while ((getline text < path) > 0) {
            sub(/^[ \t]+/, "", text)
            gsub(/\\/, "\\\\", text)
            gsub(/"/, "\\\"", text)
            source[path, ++number] = text
        }
        close(path)
    }
    return source[path, line]
}
