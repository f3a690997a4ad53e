/*===- CpuFeatures.c - Can this CPU execute the model's code? -------------===*
 *
 * Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
 * See LICENSE for license information.
 * SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===----------------------------------------------------------------------===*
 *
 * Turns an illegal instruction in the middle of a run into one line at open.
 * CPUID is read directly: the compiler's __builtin_cpu_supports needs support
 * code from libgcc that compiled models do not link.
 *===----------------------------------------------------------------------===*/
#include "Internal.h"

#include <string.h>

#if defined(__x86_64__)
#include <cpuid.h>

enum {
  LEAF1_ECX,
  LEAF7_EBX,
  LEAF7_ECX,
  LEAF7_EDX,
  LEAF71_EAX,
  EXT1_ECX,
  WORDS
};

/* What the operating system must save across context switches (XCR0). */
#define OS_NONE 0u
#define OS_AVX 0x6u
#define OS_AVX512 0xe6u
#define OS_AMX 0x60000u

typedef struct feature {
  const char *name; /* as LLVM spells it */
  uint8_t word;
  uint8_t bit;
  uint32_t os;
} feature;

/* Intel SDM volume 2A, table 3-8 ff.; AMD APM volume 3, appendix E. */
static const feature features[] = {
    {"sse3", LEAF1_ECX, 0, OS_NONE},
    {"pclmul", LEAF1_ECX, 1, OS_NONE},
    {"ssse3", LEAF1_ECX, 9, OS_NONE},
    {"fma", LEAF1_ECX, 12, OS_AVX},
    {"cx16", LEAF1_ECX, 13, OS_NONE},
    {"sse4.1", LEAF1_ECX, 19, OS_NONE},
    {"sse4.2", LEAF1_ECX, 20, OS_NONE},
    {"movbe", LEAF1_ECX, 22, OS_NONE},
    {"popcnt", LEAF1_ECX, 23, OS_NONE},
    {"avx", LEAF1_ECX, 28, OS_AVX},
    {"f16c", LEAF1_ECX, 29, OS_AVX},
    {"bmi", LEAF7_EBX, 3, OS_NONE},
    {"avx2", LEAF7_EBX, 5, OS_AVX},
    {"bmi2", LEAF7_EBX, 8, OS_NONE},
    {"avx512f", LEAF7_EBX, 16, OS_AVX512},
    {"avx512dq", LEAF7_EBX, 17, OS_AVX512},
    {"avx512ifma", LEAF7_EBX, 21, OS_AVX512},
    {"avx512cd", LEAF7_EBX, 28, OS_AVX512},
    {"avx512bw", LEAF7_EBX, 30, OS_AVX512},
    {"avx512vl", LEAF7_EBX, 31, OS_AVX512},
    {"avx512vbmi", LEAF7_ECX, 1, OS_AVX512},
    {"avx512vbmi2", LEAF7_ECX, 6, OS_AVX512},
    {"avx512vnni", LEAF7_ECX, 11, OS_AVX512},
    {"avx512bitalg", LEAF7_ECX, 12, OS_AVX512},
    {"avx512vpopcntdq", LEAF7_ECX, 14, OS_AVX512},
    {"amx-bf16", LEAF7_EDX, 22, OS_AMX},
    {"avx512fp16", LEAF7_EDX, 23, OS_AVX512},
    {"amx-tile", LEAF7_EDX, 24, OS_AMX},
    {"amx-int8", LEAF7_EDX, 25, OS_AMX},
    {"avxvnni", LEAF71_EAX, 4, OS_AVX},
    {"avx512bf16", LEAF71_EAX, 5, OS_AVX512},
    {"lzcnt", EXT1_ECX, 5, OS_NONE},
};

static void read_cpuid(uint32_t words[WORDS], uint32_t *os) {
  uint32_t a, b, c, d;
  memset(words, 0, WORDS * sizeof *words);
  *os = 0;
  if (!__get_cpuid(1, &a, &b, &c, &d))
    return;
  words[LEAF1_ECX] = c;
  if (c & (1u << 27)) { /* OSXSAVE: XGETBV may be used */
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    *os = low;
  }
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d)) {
    uint32_t subleaves = a;
    words[LEAF7_EBX] = b;
    words[LEAF7_ECX] = c;
    words[LEAF7_EDX] = d;
    if (subleaves >= 1 && __get_cpuid_count(7, 1, &a, &b, &c, &d))
      words[LEAF71_EAX] = a;
  }
  if (__get_cpuid(0x80000001u, &a, &b, &c, &d))
    words[EXT1_ECX] = c;
}

moe_status moe_cpu_check(const char *list, moe_message message) {
  uint32_t words[WORDS], os;
  read_cpuid(words, &os);
  while (*list) {
    size_t length = strcspn(list, ",");
    for (size_t i = 0; i < sizeof features / sizeof *features; ++i) {
      const feature *f = &features[i];
      /* Names not in the table are the compiler's tuning hints. */
      if (strlen(f->name) != length || memcmp(f->name, list, length) != 0)
        continue;
      if (!(words[f->word] >> f->bit & 1) || (os & f->os) != f->os)
        return moe_fail(message, MOE_ERROR_UNSUPPORTED,
                        "the model was compiled for CPUs with %s, which this "
                        "CPU lacks",
                        f->name);
    }
    list += length + (list[length] == ',');
  }
  return MOE_OK;
}

#else

moe_status moe_cpu_check(const char *list, moe_message message) {
  (void)list;
  (void)message;
  return MOE_OK;
}

#endif
