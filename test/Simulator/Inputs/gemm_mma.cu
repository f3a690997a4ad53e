// Tensor-core kernels of the simulator's tests: nvcc -arch=sm_80 -ptx
// gemm_mma.cu. C (f32, M x N) = A (M x K) times B (K x N), all row-major;
// M, N multiples of 64, K of 32. Three stages of cp.async, XOR swizzle.
#include <cstdint>

template <bool isBf16>
__device__ void mma(float (&c)[4], const uint32_t (&a)[4],
                    const uint32_t (&b)[2]) {
  if (isBf16)
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
                 "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]),
                   "r"(b[1]));
  else
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 "
                 "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]),
                   "r"(b[1]));
}

__device__ uint32_t shared(const void *p) {
  return (uint32_t)__cvta_generic_to_shared(p);
}

template <bool isBf16>
__device__ void gemm(const uint16_t *a, const uint16_t *b, float *c, int m,
                     int n, int k) {
  constexpr int stages = 3;
  __shared__ __align__(128) uint16_t as[stages][64 * 32], bs[stages][32 * 64];
  int t = threadIdx.x, lane = t % 32, warp = t / 32;
  int row0 = blockIdx.y * 64, column0 = blockIdx.x * 64;
  float sum[2][4][4] = {};

  auto load = [&](int stage, int k0) {
    for (int i = t; i < 256; i += 128) {
      int r = i / 4, v = i % 4; // A: 64 rows of 4 vectors
      asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(
                       shared(&as[stage][r * 32 + (v ^ (r / 2 % 4)) * 8])),
                   "l"(a + (size_t)(row0 + r) * k + k0 + v * 8)
                   : "memory");
      r = i / 8, v = i % 8; // B: 32 rows of 8 vectors
      asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(
                       shared(&bs[stage][r * 64 + (v ^ (r % 8)) * 8])),
                   "l"(b + (size_t)(k0 + r) * n + column0 + v * 8)
                   : "memory");
    }
  };

  int steps = k / 32;
  for (int s = 0; s < stages - 1; ++s) {
    if (s < steps)
      load(s, s * 32);
    asm volatile("cp.async.commit_group;" ::: "memory");
  }
  int wm = warp / 2 * 32, wn = warp % 2 * 32;
#pragma unroll 1
  for (int s = 0; s < steps; ++s) {
    asm volatile("cp.async.wait_group 1;" ::: "memory");
    __syncthreads();
    if (s + stages - 1 < steps)
      load((s + stages - 1) % stages, (s + stages - 1) * 32);
    asm volatile("cp.async.commit_group;" ::: "memory");
    const uint16_t *at = as[s % stages], *bt = bs[s % stages];
#pragma unroll
    for (int kk = 0; kk < 2; ++kk) {
      uint32_t af[2][4], bf[4][2];
      for (int i = 0; i < 2; ++i) {
        int r = wm + i * 16 + lane % 16, v = kk * 2 + lane / 16;
        asm volatile(
            "ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
            : "=r"(af[i][0]), "=r"(af[i][1]), "=r"(af[i][2]), "=r"(af[i][3])
            : "r"(shared(at + r * 32 + (v ^ (r / 2 % 4)) * 8))
            : "memory");
      }
      for (int j = 0; j < 4; j += 2) {
        int r = kk * 16 + lane % 16, v = wn / 8 + j + lane / 16;
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 "
                     "{%0,%1,%2,%3}, [%4];"
                     : "=r"(bf[j][0]), "=r"(bf[j][1]), "=r"(bf[j + 1][0]),
                       "=r"(bf[j + 1][1])
                     : "r"(shared(bt + r * 64 + (v ^ (r % 8)) * 8))
                     : "memory");
      }
      for (int i = 0; i < 2; ++i)
        for (int j = 0; j < 4; ++j)
          mma<isBf16>(sum[i][j], af[i], bf[j]);
    }
  }
  for (int i = 0; i < 2; ++i)
    for (int j = 0; j < 4; ++j)
      for (int h = 0; h < 2; ++h) {
        int row = row0 + wm + i * 16 + lane / 4 + h * 8;
        int column = column0 + wn + j * 8 + lane % 4 * 2;
        *(float2 *)&c[(size_t)row * n + column] =
            make_float2(sum[i][j][h * 2], sum[i][j][h * 2 + 1]);
      }
}

extern "C" __global__ void __launch_bounds__(128)
    gemm_f16(const uint16_t *a, const uint16_t *b, float *c, int m, int n,
             int k) {
  gemm<false>(a, b, c, m, n, k);
}
extern "C" __global__ void __launch_bounds__(128)
    gemm_bf16(const uint16_t *a, const uint16_t *b, float *c, int m, int n,
              int k) {
  gemm<true>(a, b, c, m, n, k);
}
