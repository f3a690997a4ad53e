// The sm_90a kernel of the simulator's tests: nvcc -arch=sm_90a -ptx
// gemm_tma.cu. C (f32, M x N) = A (f16, M x K) times B (f16): a producer warp
// copies tiles of 64 x 64 with TMA, a warpgroup multiplies them. B is K x N,
// or N x K for gemm_tma_nt. M, N, K multiples of 64.
#include <cstdint>

struct alignas(64) Map {
  char bytes[128];
};

__device__ uint32_t shared(const void *p) {
  return (uint32_t)__cvta_generic_to_shared(p);
}
__device__ void wait(uint32_t barrier, int parity) {
  asm volatile("{\n.reg .pred p;\nW: mbarrier.try_wait.parity.shared::cta.b64 "
               "p, [%0], %1;\n@p bra D;\nbra W;\nD:\n}" ::"r"(barrier),
               "r"(parity)
               : "memory");
}
__device__ void load(uint32_t to, const Map &map, int x, int y,
                     uint32_t barrier) {
  asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::"
               "complete_tx::bytes [%0], [%1, {%2, %3}], [%4];" ::"r"(to),
               "l"(&map), "r"(x), "r"(y), "r"(barrier)
               : "memory");
}
/// Swizzle of 128 bytes; groups of eight rows are 1024 bytes apart.
__device__ uint64_t describe(uint32_t address) {
  return (uint64_t)(address >> 4 & 0x3fff) | (uint64_t)1 << 16 |
         (uint64_t)(1024 >> 4) << 32 | (uint64_t)1 << 62;
}

template <bool isTransposed>
__device__ void gemm(const Map &a, const Map &b, float *c, int n, int k) {
  constexpr int stages = 2;
  __shared__ __align__(1024) uint16_t as[stages][64 * 64], bs[stages][64 * 64];
  __shared__ uint64_t full[stages], empty[stages];
  int t = threadIdx.x, warp = t / 32, lane = t % 32;
  int row0 = blockIdx.y * 64, column0 = blockIdx.x * 64, steps = k / 64;
  if (t == 0) {
    for (int s = 0; s < stages; ++s) {
      asm volatile("mbarrier.init.shared::cta.b64 [%0], 1;" ::"r"(
                       shared(&full[s]))
                   : "memory");
      asm volatile("mbarrier.init.shared::cta.b64 [%0], 128;" ::"r"(
                       shared(&empty[s]))
                   : "memory");
    }
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
  }
  __syncthreads();
  if (warp == 4) {
    if (lane == 0)
      for (int i = 0; i < steps; ++i) {
        int s = i % stages;
        wait(shared(&empty[s]), (i / stages + 1) & 1);
        uint32_t barrier = shared(&full[s]);
        asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::
                         "r"(barrier),
                     "r"(2 * 64 * 64 * 2)
                     : "memory");
        load(shared(as[s]), a, i * 64, row0, barrier);
        if (isTransposed)
          load(shared(bs[s]), b, i * 64, column0, barrier);
        else
          load(shared(bs[s]), b, column0, i * 64, barrier);
      }
    return;
  }
  float d[8];
  float e[24];
  for (float &x : d)
    x = 0;
  for (float &x : e)
    x = 0;
#pragma unroll 1
  for (int i = 0; i < steps; ++i) {
    int s = i % stages;
    wait(shared(&full[s]), i / stages & 1);
    asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
    for (int kk = 0; kk < 4; ++kk) {
      uint64_t da = describe(shared(as[s]) + kk * 32);
      uint64_t db = describe(shared(bs[s]) + kk * (isTransposed ? 32 : 2048));
      asm volatile(
          "{\n.reg .pred p;\nsetp.ne.b32 p, 1, 0;\n"
          "wgmma.mma_async.sync.aligned.m64n64k16.f32.f16.f16 "
          "{%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,%16,%17,%18,"
          "%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31}, %32, %33, p, "
          "1, 1, 0, %34;\n}"
          : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]), "+f"(d[4]),
            "+f"(d[5]), "+f"(d[6]), "+f"(d[7]), "+f"(e[0]), "+f"(e[1]),
            "+f"(e[2]), "+f"(e[3]), "+f"(e[4]), "+f"(e[5]), "+f"(e[6]),
            "+f"(e[7]), "+f"(e[8]), "+f"(e[9]), "+f"(e[10]), "+f"(e[11]),
            "+f"(e[12]), "+f"(e[13]), "+f"(e[14]), "+f"(e[15]), "+f"(e[16]),
            "+f"(e[17]), "+f"(e[18]), "+f"(e[19]), "+f"(e[20]), "+f"(e[21]),
            "+f"(e[22]), "+f"(e[23])
          : "l"(da), "l"(db), "n"(isTransposed ? 0 : 1));
    }
    asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
    asm volatile("wgmma.wait_group.sync.aligned 0;" ::: "memory");
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(
                     shared(&empty[s]))
                 : "memory");
  }
  for (int i = 0; i < 32; ++i) {
    int row = row0 + warp * 16 + lane / 4 + i / 2 % 2 * 8;
    int column = column0 + i / 4 * 8 + lane % 4 * 2 + i % 2;
    c[(size_t)row * n + column] = i < 8 ? d[i] : e[i - 8];
  }
}

extern "C" __global__ void __launch_bounds__(160)
    gemm_tma(const __grid_constant__ Map a, const __grid_constant__ Map b,
             float *c, int n, int k) {
  gemm<false>(a, b, c, n, k);
}
extern "C" __global__ void __launch_bounds__(160)
    gemm_tma_nt(const __grid_constant__ Map a, const __grid_constant__ Map b,
                float *c, int n, int k) {
  gemm<true>(a, b, c, n, k);
}

// Out = In by way of shared memory, 16 x 64 floats at a time.
extern "C" __global__ void copy_tma(const __grid_constant__ Map in,
                                    const __grid_constant__ Map out) {
  __shared__ __align__(1024) float tile[2][16 * 64];
  __shared__ uint64_t full;
  int x = blockIdx.x * 64, y = blockIdx.y * 16;
  if (threadIdx.x == 0) {
    asm volatile("mbarrier.init.shared::cta.b64 [%0], 1;" ::"r"(shared(&full))
                 : "memory");
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
    asm volatile(
        "mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], 4096;" ::"r"(
            shared(&full))
        : "memory");
    load(shared(tile[0]), in, x, y, shared(&full));
  }
  __syncthreads();
  wait(shared(&full), 0);
  for (int i = threadIdx.x; i < 16 * 64; i += blockDim.x)
    tile[1][i] = tile[0][i] + 1;
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
  __syncthreads();
  if (threadIdx.x == 0) {
    asm volatile("cp.async.bulk.tensor.2d.global.shared::cta.bulk_group [%0, "
                 "{%1, %2}], [%3];" ::"l"(&out),
                 "r"(x), "r"(y), "r"(shared(tile[1]))
                 : "memory");
    asm volatile("cp.async.bulk.commit_group;" ::: "memory");
    asm volatile("cp.async.bulk.wait_group.read 0;" ::: "memory");
    tile[1][0] = 0;
  }
}
