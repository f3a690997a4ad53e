/*===- Sanitizers.c - What ASAN_OPTIONS would say -------------------------===*
 *
 * Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
 * See LICENSE for license information.
 * SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===----------------------------------------------------------------------===*/

const char *__asan_default_options(void);
/* libMLIR has no sanitizer and uses the arenas of ours without lifting the
 * poison. Leaks are looked for by the tests. Where memory came from is told
 * when a finding is run again with ASAN_OPTIONS=malloc_context_size=30: to note
 * it at each allocation is slow, and so is freed memory kept for long. */
const char *__asan_default_options(void) {
  return "allow_user_poisoning=0:detect_leaks=0:malloc_context_size=1:"
         "quarantine_size_mb=32";
}
