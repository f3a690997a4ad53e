/*===- Program.c - The program around an embedded model -------------------===*
 *
 * Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
 * See LICENSE for license information.
 * SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===----------------------------------------------------------------------===*
 *
 * main of `moe-compile --emit=exe`: what moe-run does with .npy files, on the
 * model in the program itself. C on libc, as the model is: the program needs
 * neither a C++ library nor the compiler's folder.
 *===----------------------------------------------------------------------===*/
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* strndup */
#endif

#include "Signature.h"

#include "moe/Runtime/Context.h"
#include "moe/Runtime/Descriptor.h"
#include "moe/Runtime/moe.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* As moe-run: as expected, different from what was expected, not done. */
enum { EXIT_SAME = 0, EXIT_DIFFERENT = 1, EXIT_TROUBLE = 2 };

static const char usage[] =
    "Runs the model in this program on NumPy files.\n"
    "\n"
    "  --input NAME=@FILE.npy            an input (each exactly once)\n"
    "  --output NAME=@FILE.npy           write an output\n"
    "  --expected-output NAME=@FILE.npy  compare an output\n"
    "  --tolerance=T    largest |difference| / max(1, largest |expected|)\n"
    "                   (default 1e-4)\n"
    "  --weights=FILE   the weight file (default: beside the program)\n"
    "  --threads=N      threads (default: OMP_NUM_THREADS, or all CPUs)\n"
    "  --signature      print the inputs and outputs, and stop\n"
    "  --help           print this\n";

static const char *program = "model";

static _Noreturn void die(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  fprintf(stderr, "%s: error: ", program);
  vfprintf(stderr, format, arguments);
  fputc('\n', stderr);
  va_end(arguments);
  exit(EXIT_TROUBLE);
}

static void *allocate(size_t size) {
  void *memory = calloc(1, size ? size : 1);
  if (!memory)
    die("out of memory");
  return memory;
}

/*---- NumPy files ----------------------------------------------------------*/

/* Types as numpy.lib.format writes them; bfloat16 as ml_dtypes does. */
static const struct {
  moe_dtype dtype;
  const char *descr;
  size_t size;
} types[] = {{MOE_F32, "<f4", 4}, {MOE_F16, "<f2", 2}, {MOE_BF16, "<V2", 2},
             {MOE_F64, "<f8", 8}, {MOE_I8, "|i1", 1},  {MOE_I16, "<i2", 2},
             {MOE_I32, "<i4", 4}, {MOE_I64, "<i8", 8}, {MOE_U8, "|u1", 1},
             {MOE_U16, "<u2", 2}, {MOE_U32, "<u4", 4}, {MOE_U64, "<u8", 8},
             {MOE_BOOL, "|b1", 1}};
enum { NUM_TYPES = sizeof types / sizeof *types };

static int type_of(moe_dtype dtype) {
  for (int i = 0; i < NUM_TYPES; ++i)
    if (types[i].dtype == dtype)
      return i;
  die("unknown element type %" PRId32, dtype);
}

/* What follows `key` in the header's dictionary. */
static const char *header_value(const char *header, const char *key,
                                const char *path) {
  const char *at = strstr(header, key);
  at = at ? strchr(at, ':') : NULL;
  if (!at)
    die("%s: the header has no %s", path, key);
  return at + 1 + strspn(at + 1, " ");
}

static moe_tensor read_npy(const char *path) {
  FILE *file = fopen(path, "rb");
  if (!file)
    die("%s: cannot be opened: %s", path, strerror(errno));
  unsigned char start[12];
  if (fread(start, 1, 10, file) != 10 || memcmp(start, "\x93NUMPY", 6) != 0 ||
      start[6] < 1 || start[6] > 3)
    die("%s: is not a .npy file", path);
  size_t length = start[8] | (size_t)start[9] << 8;
  if (start[6] > 1) {
    if (fread(start + 10, 1, 2, file) != 2)
      die("%s: is truncated", path);
    length |= (size_t)start[10] << 16 | (size_t)start[11] << 24;
  }
  if (length > (1u << 20))
    die("%s: the header is too long", path);
  char *header = allocate(length + 1);
  if (fread(header, 1, length, file) != length)
    die("%s: is truncated", path);

  const char *descr = header_value(header, "'descr'", path);
  int type = 0;
  while (type < NUM_TYPES &&
         (*descr != '\'' || strncmp(descr + 1, types[type].descr, 3) != 0 ||
          descr[4] != '\''))
    ++type;
  /* NumPy calls bytes of unknown type, as bfloat16 is to it, '|V2'. */
  if (type == NUM_TYPES && strncmp(descr, "'|V2'", 5) == 0)
    for (type = 0; types[type].dtype != MOE_BF16;)
      ++type;
  if (type == NUM_TYPES)
    die("%s: unsupported type %.8s", path, descr);
  if (strncmp(header_value(header, "'fortran_order'", path), "False", 5) != 0)
    die("%s: expects row-major order", path);

  moe_tensor tensor = {0};
  tensor.dtype = types[type].dtype;
  int64_t *shape = allocate(MOE_MAX_RANK * sizeof *shape);
  const char *at = header_value(header, "'shape'", path);
  int64_t bytes = (int64_t)types[type].size;
  if (*at++ != '(')
    die("%s: the shape is not a tuple", path);
  for (at += strspn(at, " ,"); *at && *at != ')'; at += strspn(at, " ,")) {
    char *end;
    errno = 0;
    long long size = strtoll(at, &end, 10);
    if (end == at || errno || size < 0 || tensor.rank == MOE_MAX_RANK ||
        __builtin_mul_overflow(bytes, (int64_t)size, &bytes))
      die("%s: the shape is wrong", path);
    shape[tensor.rank++] = size;
    at = end;
  }
  free(header);
  tensor.shape = shape;
  /* Read in steps, so that a lying header cannot ask for all memory at once. */
  char *data = NULL;
  for (int64_t have = 0; have < bytes;) {
    int64_t step = bytes - have < (64 << 20) ? bytes - have : 64 << 20;
    data = realloc(data, (size_t)(have + step));
    if (!data)
      die("%s: out of memory", path);
    if (fread(data + have, 1, (size_t)step, file) != (size_t)step)
      die("%s: is truncated", path);
    have += step;
  }
  fclose(file);
  tensor.data = data ? data : allocate(1);
  return tensor;
}

static void write_npy(const char *path, const moe_tensor *tensor) {
  size_t bytes = types[type_of(tensor->dtype)].size;
  for (int32_t i = 0; i < tensor->rank; ++i)
    bytes *= (size_t)tensor->shape[i];
  char header[1024], shape[768] = "";
  size_t used = 0;
  for (int32_t i = 0; i < tensor->rank; ++i)
    used += (size_t)snprintf(shape + used, sizeof shape - used, "%" PRId64 ", ",
                             tensor->shape[i]);
  int length =
      snprintf(header, sizeof header,
               "{'descr': '%s', 'fortran_order': False, 'shape': (%s), }",
               types[type_of(tensor->dtype)].descr, shape);
  /* The data begins at a multiple of 64 bytes. */
  int padded = (10 + length + 1 + 63) / 64 * 64 - 10;
  memset(header + length, ' ', (size_t)(padded - length));
  header[padded - 1] = '\n';
  unsigned char start[10] = {0x93,
                             'N',
                             'U',
                             'M',
                             'P',
                             'Y',
                             1,
                             0,
                             (unsigned char)(padded & 255),
                             (unsigned char)(padded >> 8)};

  /* Appears complete or not at all. */
  char *temporary = allocate(strlen(path) + 5);
  sprintf(temporary, "%s.tmp", path);
  FILE *file = fopen(temporary, "wb");
  bool ok = file && fwrite(start, 1, 10, file) == 10 &&
            fwrite(header, 1, (size_t)padded, file) == (size_t)padded &&
            fwrite(tensor->data, 1, bytes, file) == bytes;
  ok = file && fclose(file) == 0 && ok;
  if (!ok || rename(temporary, path) != 0) {
    int reason = errno;
    remove(temporary);
    die("%s: cannot be written: %s", path, strerror(reason));
  }
  free(temporary);
}

/*---- Comparison -----------------------------------------------------------*/

static float from_bits(uint32_t bits) {
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

static double from_half(uint16_t bits) {
  int exponent = bits >> 10 & 31;
  double mantissa = bits & 1023, value;
  if (exponent == 31)
    value = mantissa != 0 ? NAN : INFINITY;
  else
    value =
        exponent ? ldexp(1024 + mantissa, exponent - 25) : ldexp(mantissa, -24);
  return bits >> 15 ? -value : value;
}

#define ELEMENT(TYPE) ((double)((const TYPE *)tensor->data)[i])
static double element(const moe_tensor *tensor, int64_t i) {
  switch (tensor->dtype) {
  case MOE_F32:
    return ELEMENT(float);
  case MOE_F16:
    return from_half(((const uint16_t *)tensor->data)[i]);
  case MOE_BF16:
    return from_bits((uint32_t)((const uint16_t *)tensor->data)[i] << 16);
  case MOE_F64:
    return ELEMENT(double);
  case MOE_I8:
    return ELEMENT(int8_t);
  case MOE_I16:
    return ELEMENT(int16_t);
  case MOE_I32:
    return ELEMENT(int32_t);
  case MOE_I64:
    return ELEMENT(int64_t);
  case MOE_U16:
    return ELEMENT(uint16_t);
  case MOE_U32:
    return ELEMENT(uint32_t);
  case MOE_U64:
    return ELEMENT(uint64_t);
  default:
    return ELEMENT(uint8_t);
  }
}
#undef ELEMENT

static bool compare(const char *name, const moe_tensor *actual,
                    const moe_tensor *expected, double tolerance) {
  int64_t count = 1;
  bool same = actual->rank == expected->rank;
  for (int32_t i = 0; same && i < actual->rank; ++i) {
    same = actual->shape[i] == expected->shape[i];
    count *= actual->shape[i];
  }
  if (!same) {
    printf("[FAILED] %s: the shapes differ\n", name);
    return false;
  }
  double largest = 0, scale = 1;
  for (int64_t i = 0; i < count; ++i) {
    double a = element(actual, i), e = element(expected, i);
    if (fabs(e) > scale && !isinf(e))
      scale = fabs(e);
    if (a == e || (isnan(a) && isnan(e)))
      continue;
    double difference = fabs(a - e);
    if (!(difference <= largest)) /* NaN counts as the largest */
      largest = isnan(difference) ? INFINITY : difference;
  }
  bool success = largest <= tolerance * scale;
  printf("[%s] %s: largest difference %.3g, limit %.3g\n",
         success ? "SUCCESS" : "FAILED", name, largest, tolerance * scale);
  return success;
}

/*---- Command line ---------------------------------------------------------*/

typedef struct file_argument {
  char *name;
  const char *path;
} file_argument;

typedef struct file_list {
  file_argument *items;
  int32_t count;
} file_list;

/* "NAME=@FILE". */
static void add_file(file_list *list, const char *text) {
  const char *equal = strstr(text, "=@");
  if (!equal || equal == text || !equal[2])
    die("expects NAME=@FILE.npy, got '%s'", text);
  list->items =
      realloc(list->items, (size_t)(list->count + 1) * sizeof *list->items);
  if (!list->items)
    die("out of memory");
  file_argument *item = &list->items[list->count++];
  item->name = strndup(text, (size_t)(equal - text));
  item->path = equal + 2;
}

/* The value of option `name` in "--name=value" or "--name value". */
static const char *option(const char *name, int argc, char **argv, int *i) {
  const char *text = argv[*i];
  if (strncmp(text, "--", 2) != 0)
    return NULL;
  size_t length = strlen(name);
  if (strncmp(text + 2, name, length) != 0)
    return NULL;
  if (text[2 + length] == '=')
    return text + 3 + length;
  if (text[2 + length])
    return NULL;
  if (*i + 1 >= argc)
    die("expects a value after %s", text);
  return argv[++*i];
}

static void print_value(const char *kind, const moe_value_info *info,
                        const int64_t *shape) {
  char text[512];
  moe_shape_text(text, sizeof text, info->rank, shape ? shape : info->dims,
                 shape ? NULL : info->dim_names);
  printf("%-6s %s  %s  %s\n", kind, info->name, moe_dtype_name(info->dtype),
         text);
}

static int32_t find_output(const moe_model *model, const char *name) {
  int32_t index = moe_find_output(model, name);
  if (index < 0)
    die("the model has no output '%s'", name);
  return index;
}

int main(int argc, char **argv) {
  file_list inputs = {0}, outputs = {0}, expected = {0};
  const char *weights = NULL, *value;
  double tolerance = 1e-4;
  long threads = 0;
  bool signature = false;
  if (argc > 0 && argv[0])
    program = strrchr(argv[0], '/') ? strrchr(argv[0], '/') + 1 : argv[0];
  for (int i = 1; i < argc; ++i) {
    char *end = "";
    if ((value = option("input", argc, argv, &i))) {
      add_file(&inputs, value);
    } else if ((value = option("output", argc, argv, &i))) {
      add_file(&outputs, value);
    } else if ((value = option("expected-output", argc, argv, &i))) {
      add_file(&expected, value);
    } else if ((value = option("weights", argc, argv, &i))) {
      weights = value;
    } else if ((value = option("tolerance", argc, argv, &i))) {
      tolerance = strtod(value, &end);
      if (*end || end == value || !(tolerance >= 0))
        die("expects a tolerance of at least 0, got '%s'", value);
    } else if ((value = option("threads", argc, argv, &i))) {
      threads = strtol(value, &end, 10);
      if (*end || end == value || threads < 1 || threads > 4096)
        die("expects a number of threads, got '%s'", value);
    } else if (strcmp(argv[i], "--signature") == 0) {
      signature = true;
    } else if (strcmp(argv[i], "--help") == 0) {
      fputs(usage, stdout);
      return EXIT_SAME;
    } else {
      die("unknown argument '%s'; see --help", argv[i]);
    }
  }

  char error[1024];
  moe_model *model;
  const moe_api *api = moe_rt_get_api(MOE_ABI_VERSION);
  if (moe_open(api, weights, signature ? MOE_OPEN_SIGNATURE : 0, &model, error,
               sizeof error) != MOE_OK)
    die("%s", error);
  int32_t num_outputs = moe_num_outputs(model);
  if (signature) {
    for (int32_t i = 0; i < moe_num_inputs(model); ++i)
      print_value("input", moe_input_info(model, i), NULL);
    for (int32_t i = 0; i < num_outputs; ++i)
      print_value("output", moe_output_info(model, i), NULL);
    moe_close(model);
    return EXIT_SAME;
  }
  for (int32_t i = 0; i < outputs.count; ++i)
    find_output(model, outputs.items[i].name);
  for (int32_t i = 0; i < expected.count; ++i)
    find_output(model, expected.items[i].name);

  moe_session *session;
  if (moe_session_create(model, (int32_t)threads, &session, error,
                         sizeof error) != MOE_OK)
    die("%s", error);
  moe_tensor *in = allocate((size_t)inputs.count * sizeof *in);
  moe_tensor *out = allocate((size_t)num_outputs * sizeof *out);
  const char **in_names = allocate((size_t)inputs.count * sizeof *in_names);
  const char **out_names = allocate((size_t)num_outputs * sizeof *out_names);
  for (int32_t i = 0; i < inputs.count; ++i) {
    in[i] = read_npy(inputs.items[i].path);
    in_names[i] = inputs.items[i].name;
  }
  for (int32_t i = 0; i < num_outputs; ++i)
    out_names[i] = moe_output_info(model, i)->name;
  if (moe_run_named(session, in_names, in, inputs.count, out_names, out,
                    num_outputs) != MOE_OK)
    die("%s", moe_session_error(session));

  for (int32_t i = 0; i < num_outputs; ++i)
    print_value("output", moe_output_info(model, i), out[i].shape);
  int result = EXIT_SAME;
  for (int32_t i = 0; i < expected.count; ++i) {
    moe_tensor want = read_npy(expected.items[i].path);
    const char *name = expected.items[i].name;
    if (!compare(name, &out[find_output(model, name)], &want, tolerance))
      result = EXIT_DIFFERENT;
  }
  for (int32_t i = 0; i < outputs.count; ++i)
    write_npy(outputs.items[i].path,
              &out[find_output(model, outputs.items[i].name)]);
  moe_session_destroy(session);
  moe_close(model);
  return result;
}
