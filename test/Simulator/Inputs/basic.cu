// The plain kernels of the simulator's tests: nvcc -arch=sm_80 -ptx basic.cu
extern "C" {

__global__ void vector_add(const float *a, const float *b, float *c, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n)
    c[i] = a[i] + b[i];
}

// One value per block: shuffles in the warps, then shared memory.
__global__ void reduce_sum(const float *x, float *sums, int n) {
  __shared__ float partial[32];
  float sum = 0;
  for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n;
       i += gridDim.x * blockDim.x)
    sum += x[i];
  for (int step = 16; step; step >>= 1)
    sum += __shfl_down_sync(~0u, sum, step);
  int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  if (lane == 0)
    partial[warp] = sum;
  __syncthreads();
  if (warp == 0) {
    sum = lane < blockDim.x / 32 ? partial[lane] : 0;
    for (int step = 16; step; step >>= 1)
      sum += __shfl_xor_sync(~0u, sum, step);
    if (lane == 0)
      sums[blockIdx.x] = sum;
  }
}

__global__ void matmul_tiled(const float *a, const float *b, float *c, int m,
                             int n, int k) {
  __shared__ float as[16][16], bs[16][16];
  int tx = threadIdx.x, ty = threadIdx.y;
  int row = blockIdx.y * 16 + ty, column = blockIdx.x * 16 + tx;
  float sum = 0;
  for (int k0 = 0; k0 < k; k0 += 16) {
    as[ty][tx] = row < m && k0 + tx < k ? a[row * k + k0 + tx] : 0;
    bs[ty][tx] = k0 + ty < k && column < n ? b[(k0 + ty) * n + column] : 0;
    __syncthreads();
    for (int i = 0; i < 16; ++i)
      sum += as[ty][i] * bs[i][tx];
    __syncthreads();
  }
  if (row < m && column < n)
    c[row * n + column] = sum;
}

__global__ void histogram(const int *keys, int *bins, int n) {
  __shared__ int local[64];
  if (threadIdx.x < 64)
    local[threadIdx.x] = 0;
  __syncthreads();
  for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n;
       i += gridDim.x * blockDim.x)
    atomicAdd(&local[keys[i] & 63], 1);
  __syncthreads();
  if (threadIdx.x < 64)
    atomicAdd(&bins[threadIdx.x], local[threadIdx.x]);
}

// Steps of the Collatz sequence: each lane leaves its loop when it is done.
__global__ void collatz(const unsigned *x, unsigned *steps, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n)
    return;
  unsigned count = 0;
  for (unsigned long long v = x[i]; v > 1; ++count) {
    if (v & 1)
      v = 3 * v + 1;
    else
      v >>= 1;
  }
  steps[i] = count;
}

// Warp 0 fills two buffers in turn, warps 1.. read them: named barriers 1-2
// say "full", 3-4 say "empty".
__global__ void named_barriers(const int *x, int *y, int rounds) {
  __shared__ int buffer[2][32];
  int lane = threadIdx.x % 32, warp = threadIdx.x / 32, all = blockDim.x;
  if (warp == 0) {
    for (int i = 0; i < rounds; ++i) {
      if (i >= 2)
        asm volatile("bar.sync %0, %1;" ::"r"(3 + i % 2), "r"(all) : "memory");
      buffer[i % 2][lane] = x[i * 32 + lane];
      asm volatile("bar.arrive %0, %1;" ::"r"(1 + i % 2), "r"(all) : "memory");
    }
  } else {
    for (int i = 0; i < rounds; ++i) {
      asm volatile("bar.sync %0, %1;" ::"r"(1 + i % 2), "r"(all) : "memory");
      y[(i * (all / 32 - 1) + warp - 1) * 32 + lane] =
          buffer[i % 2][31 - lane] * warp;
      if (i + 2 < rounds)
        asm volatile("bar.arrive %0, %1;" ::"r"(3 + i % 2), "r"(all)
                     : "memory");
    }
  }
}

// The last block to arrive adds up what the others left in global memory.
__device__ unsigned arrived;
__global__ void last_block(const float *x, float *partial, float *total) {
  __shared__ bool last;
  float v = x[blockIdx.x * 32 + threadIdx.x];
  for (int step = 16; step; step >>= 1)
    v += __shfl_xor_sync(~0u, v, step);
  if (threadIdx.x == 0) {
    partial[blockIdx.x] = v;
    __threadfence();
    last = atomicAdd(&arrived, 1) == gridDim.x - 1;
    __threadfence();
  }
  __syncthreads();
  if (last && threadIdx.x == 0) {
    float sum = 0;
    for (int i = 0; i < gridDim.x; ++i)
      sum += partial[i];
    *total = sum;
    arrived = 0;
  }
}
}
