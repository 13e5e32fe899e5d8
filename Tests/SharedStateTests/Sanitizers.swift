// SPDX-License-Identifier: Apache-2.0

import Glibc

/// Whether this program was built with one of the sanitizers, whose memory and threads are among its own.
func isSanitized() -> Bool {
    unsafe dlsym(nil, "__asan_init") != nil || dlsym(nil, "__tsan_init") != nil
}
