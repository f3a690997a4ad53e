/*===- HalfConversions.c - 16-bit floating point without hardware ---------===*
 *
 * Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
 * See LICENSE for license information.
 * SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===----------------------------------------------------------------------===*
 *
 * What LLVM calls to convert f16 and bf16 on CPUs without instructions for it.
 * Compilers have these in libgcc or compiler-rt, which models do not link.
 *
 * A 16-bit value is passed in the low bits of the register that a float is
 * passed in (System V x86-64: xmm0, AAPCS64: s0), so float stands for it here:
 * not every C compiler that may build the runtime knows both types.
 *===----------------------------------------------------------------------===*/
#include <stdint.h>
#include <string.h>

typedef float half_register;

float __extendhfsf2(half_register value);
half_register __truncsfhf2(float value);
half_register __truncdfhf2(double value);
half_register __truncsfbf2(float value);
half_register __truncdfbf2(double value);

static uint32_t bits_of(float value) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  return bits;
}

static float from_bits(uint32_t bits) {
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

/* The nearest float, except that an inexact result gets an odd last bit:
 * rounding that again to 16 bits is as good as rounding once (Boldo and
 * Melquiond 2008, "Emulation of FMA and correctly rounded sums"). */
static float narrow_to_odd(double value) {
  float nearest = (float)value;
  uint32_t bits = bits_of(nearest);
  if (value != value || (double)nearest == value || (bits & 1))
    return nearest;
  /* The neighbour on the other side of the value is odd. */
  double magnitude = value < 0 ? -value : value;
  double rounded = nearest < 0 ? -(double)nearest : (double)nearest;
  return from_bits(rounded < magnitude ? bits + 1 : bits - 1);
}

float __extendhfsf2(half_register value) {
  uint32_t half = bits_of(value) & 0xffff;
  uint32_t sign = (half & 0x8000) << 16, exponent = half >> 10 & 31,
           mantissa = half & 0x3ff;
  if (exponent == 31) /* infinity, or NaN made quiet */
    return from_bits(sign | 0x7f800000 | mantissa << 13 |
                     (mantissa ? 0x400000 : 0));
  if (exponent)
    return from_bits(sign | (exponent + 112) << 23 | mantissa << 13);
  float magnitude = (float)mantissa * 0x1p-24f;
  return from_bits(sign | bits_of(magnitude));
}

half_register __truncsfhf2(float value) {
  uint32_t bits = bits_of(value), sign = bits >> 16 & 0x8000,
           magnitude = bits & 0x7fffffff, half;
  if (magnitude > 0x7f800000) { /* NaN */
    half = 0x7e00 | (magnitude >> 13 & 0x3ff);
  } else if (magnitude >= 0x477ff000) { /* 65520 and more round to infinity */
    half = 0x7c00;
  } else if (magnitude >= 0x38800000) { /* normal: 2^-14 and more */
    uint32_t odd = magnitude >> 13 & 1;
    half = (magnitude - (112u << 23) + 0xfff + odd) >> 13;
  } else {
    /* Adding 1/2 puts units of 2^-24 in the last bits, correctly rounded. */
    half = bits_of(from_bits(magnitude) + 0.5f) - 0x3f000000;
  }
  return from_bits(sign | half);
}

half_register __truncdfhf2(double value) {
  return __truncsfhf2(narrow_to_odd(value));
}

half_register __truncsfbf2(float value) {
  uint32_t bits = bits_of(value);
  if ((bits & 0x7fffffff) > 0x7f800000)
    return from_bits(bits >> 16 | 0x40);
  return from_bits((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

half_register __truncdfbf2(double value) {
  return __truncsfbf2(narrow_to_odd(value));
}
