//===- limits.cpp - What this machine can do at most ----------------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// f32 multiply-adds per second out of registers, and bytes read per second from
// memory, on all threads at once. Reads "fma" or "read" and a number of seconds
// per line, and answers with one line of JSON each: a figure per repetition, in
// GFLOP/s or GB/s. Vectors of the compiler, so that any instruction set serves:
//
//   c++ -O3 -std=c++17 -march=native -ffp-contract=fast -pthread limits.cpp
//
//===----------------------------------------------------------------------===//

#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <thread>
#include <vector>

#if defined(__AVX512F__)
constexpr int kVectorBytes = 64;
#elif defined(__AVX__)
constexpr int kVectorBytes = 32;
#else
constexpr int kVectorBytes = 16;
#endif
using Vector = float __attribute__((vector_size(kVectorBytes)));
constexpr int kLanes = kVectorBytes / sizeof(float);
constexpr size_t kReadBytes = size_t(512) << 20;

static std::atomic<float> sink;

static double now() {
  return std::chrono::duration<double>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

static void keep(Vector value) {
  float sum = 0;
  for (int i = 0; i < kLanes; ++i)
    sum += value[i];
  sink = sum;
}

/// 12 independent chains: at least latency times throughput everywhere. They
/// start from different values, or else a compiler makes one of them.
static void multiplyAdd(long steps) {
  Vector a, b, c0, c1, c2, c3, c4, c5, c6, c7, c8, c9, c10, c11;
  for (int i = 0; i < kLanes; ++i)
    a[i] = 0.999f, b[i] = 1e-3f;
  c0 = b, c1 = c0 + b, c2 = c1 + b, c3 = c2 + b, c4 = c3 + b, c5 = c4 + b;
  c6 = c5 + b, c7 = c6 + b, c8 = c7 + b, c9 = c8 + b, c10 = c9 + b;
  c11 = c10 + b;
  for (long i = 0; i < steps; ++i) {
    c0 = c0 * a + b, c1 = c1 * a + b, c2 = c2 * a + b, c3 = c3 * a + b;
    c4 = c4 * a + b, c5 = c5 * a + b, c6 = c6 * a + b, c7 = c7 * a + b;
    c8 = c8 * a + b, c9 = c9 * a + b, c10 = c10 * a + b, c11 = c11 * a + b;
  }
  keep(c0 + c1 + c2 + c3 + c4 + c5 + c6 + c7 + c8 + c9 + c10 + c11);
}

static void readAll(const char *data, size_t bytes) {
  Vector sums[8] = {};
  // Two streams per thread, so that the prefetchers work at their limit.
  const char *second = data + bytes / 2;
  for (size_t at = 0; at < bytes / 2; at += 4 * kVectorBytes)
    for (int i = 0; i < 4; ++i) {
      sums[i] +=
          *reinterpret_cast<const Vector *>(data + at + i * kVectorBytes);
      sums[4 + i] +=
          *reinterpret_cast<const Vector *>(second + at + i * kVectorBytes);
    }
  Vector total = {};
  for (Vector sum : sums)
    total += sum;
  keep(total);
}

/// All threads start together; the time ends with the last one.
static double timeOnThreads(int threads, const std::function<void(int)> &work) {
  std::atomic<int> ready{0};
  std::vector<double> ends(threads);
  double begin = 0;
  std::vector<std::thread> pool;
  for (int t = 0; t < threads; ++t)
    pool.emplace_back([&, t] {
      cpu_set_t set, allowed;
      sched_getaffinity(0, sizeof allowed, &allowed);
      CPU_ZERO(&set);
      for (int cpu = 0, seen = 0; cpu < CPU_SETSIZE; ++cpu)
        if (CPU_ISSET(cpu, &allowed) && seen++ == t)
          CPU_SET(cpu, &set);
      if (CPU_COUNT(&set))
        pthread_setaffinity_np(pthread_self(), sizeof set, &set);
      if (ready.fetch_add(1) + 1 == threads)
        begin = now();
      while (ready.load() < threads)
        ;
      work(t);
      ends[t] = now();
    });
  double last = 0;
  for (int t = 0; t < threads; ++t) {
    pool[t].join();
    last = ends[t] > last ? ends[t] : last;
  }
  return last - begin;
}

int main(int argc, char **argv) {
  int threads = argc > 1 ? std::atoi(argv[1]) : 2;
  char *memory =
      static_cast<char *>(mmap(nullptr, kReadBytes, PROT_READ | PROT_WRITE,
                               MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  if (memory == MAP_FAILED)
    return 1;
  madvise(memory, kReadBytes, MADV_HUGEPAGE); // the most that hardware gives
  memset(memory, 0, kReadBytes);
  std::printf("{\"ready\": true, \"vector_bytes\": %d}\n", kVectorBytes);
  std::fflush(stdout);

  char what[16];
  double seconds;
  constexpr long steps = 4000000;
  size_t share = kReadBytes / threads / 4096 * 4096;
  while (std::scanf("%15s %lf", what, &seconds) == 2) {
    bool fma = std::strcmp(what, "fma") == 0;
    std::printf("{\"rates\": [");
    double end = now() + seconds;
    for (int i = 0; i < 3 || now() < end; ++i) {
      double time = timeOnThreads(threads, [&](int t) {
        fma ? multiplyAdd(steps) : readAll(memory + t * share, share);
      });
      double work = fma ? 2.0 * 12 * kLanes * steps * threads
                        : static_cast<double>(share) * threads;
      std::printf("%s%.3f", i ? ", " : "", work / time * 1e-9);
    }
    std::printf("]}\n");
    std::fflush(stdout);
  }
}
