// Arithmetic of the simulator's tests: nvcc -arch=sm_80 -ptx math.cu
#include <cuda_bf16.h>
#include <cuda_fp16.h>

// Row j of y holds function j of the n values.
extern "C" __global__ void float_math(const float *a, const float *b, float *y,
                                      int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n)
    return;
  float u = a[i], v = b[i];
  int j = 0;
#define OUT(e) y[j++ * n + i] = (e)
  OUT(u / v);
  OUT(__frcp_rn(v));
  OUT(sqrtf(fabsf(u)));
  OUT(rsqrtf(fabsf(v)));
  OUT(__fmaf_rz(u, v, u));
  OUT(__fadd_rd(u, v));
  OUT(__fmul_ru(u, v));
  OUT(exp2f(u));
  OUT(log2f(fabsf(v)));
  OUT(__sinf(u));
  OUT(__cosf(u));
  OUT(expf(u));
  OUT(tanhf(u));
  OUT(erff(u));
  OUT(fminf(u, v));
  OUT(fmaxf(u, v));
  OUT(floorf(u));
  OUT(rintf(u));
  OUT(truncf(u));
  OUT(__saturatef(u));
  OUT(copysignf(u, v));
  OUT(__half2float(__float2half(u)));
  OUT(__bfloat162float(__float2bfloat16(u)));
  OUT((float)((double)u * (double)v + 1.0));
  OUT((float)(int)u);
  OUT((float)__float2int_rn(v));
  OUT(__half2float(__hfma(__float2half(u), __float2half(v), __float2half(u))));
  OUT(__bfloat162float(
      __hmul(__float2bfloat16(u), __float2bfloat16(v))));
#undef OUT
}

extern "C" __global__ void int_math(const int *a, const int *b, int *y, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n)
    return;
  int u = a[i], v = b[i];
  unsigned uu = u, vv = v;
  int j = 0;
#define OUT(e) y[j++ * n + i] = (e)
  OUT(u + v);
  OUT(u * v);
  OUT(__mulhi(u, v));
  OUT(__umulhi(uu, vv));
  OUT(v ? u / v : 0);
  OUT(v ? u % v : 0);
  OUT(v ? uu / vv : 0);
  OUT(v ? uu % vv : 0);
  OUT((int)(((long long)u * v) >> 7));
  OUT((int)(((unsigned long long)uu * vv + uu) % 1000003));
  OUT(u >> (v & 31));
  OUT(uu >> (vv & 31));
  OUT(u << (v & 31));
  OUT(__popc(u));
  OUT(__clz(u));
  OUT(__brev(u));
  OUT(__ffs(u));
  OUT(__funnelshift_l(u, v, v & 31));
  OUT(__funnelshift_r(u, v, v & 63));
  OUT(__byte_perm(u, v, 0x5240));
  OUT((u & v) | (~u & (v >> 3)));
  OUT(min(u, v));
  OUT(max(uu, vv));
  OUT(abs(u));
  OUT((int)(short)u);
  OUT((int)(signed char)v);
  OUT(__dp4a(u, v, 7));
  OUT((int)__vadd2(uu, vv));
#undef OUT
}

extern "C" __global__ void warp_ops(const int *x, int *y) {
  int lane = threadIdx.x, v = x[lane];
  int j = 0;
#define OUT(e) y[j++ * 32 + lane] = (e)
  OUT(__shfl_sync(~0u, v, (lane + 5) & 31));
  OUT(__shfl_up_sync(~0u, v, 3));
  OUT(__shfl_down_sync(~0u, v, 4, 8));
  OUT(__shfl_xor_sync(~0u, v, 9));
  OUT(__ballot_sync(~0u, v & 1));
  OUT(__all_sync(~0u, v >= 0));
  OUT(__any_sync(~0u, v > 100));
  OUT(__match_any_sync(~0u, v & 3));
  OUT(__reduce_add_sync(~0u, v));
  OUT(__reduce_max_sync(~0u, v));
  OUT(__reduce_xor_sync(~0u, (unsigned)v));
  if (lane & 1)
    OUT(__activemask());
  else
    OUT(__popc(__ballot_sync(0x55555555, v & 2)));
#undef OUT
}
