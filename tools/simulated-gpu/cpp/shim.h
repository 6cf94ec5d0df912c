// CUDA's language extensions and device functions on a CPU. Included before the kernels' sources.
#pragma once
#define SIMULATED_GPU 1
#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>

struct SimulatedDim { unsigned x, y, z; };
extern "C" {
extern SimulatedDim simulated_thread, simulated_block, simulated_block_size, simulated_grid_size;
extern unsigned char simulated_dynamic_shared[];
void simulated_barrier();
void simulated_warp_barrier();
unsigned long long simulated_shuffle(unsigned long long bits, unsigned lane);
}
#define threadIdx simulated_thread
#define blockIdx simulated_block
#define blockDim simulated_block_size
#define gridDim simulated_grid_size
#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __restrict__
#define __launch_bounds__(...)
#define __shared__ static
#define DYNAMIC_SHARED(type, name) type* name = reinterpret_cast<type*>(simulated_dynamic_shared)
#define __syncthreads() simulated_barrier()
#define __syncwarp(...) simulated_warp_barrier()

inline unsigned simulated_lane() {
    return (threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z)) % 32;
}
template <class T>
T simulated_shuffle_of(T value, unsigned lane) {
    unsigned long long bits = 0;
    std::memcpy(&bits, &value, sizeof(T));
    bits = simulated_shuffle(bits, lane);
    std::memcpy(&value, &bits, sizeof(T));
    return value;
}
template <class T> T __shfl_xor_sync(unsigned, T value, int mask) {
    return simulated_shuffle_of(value, simulated_lane() ^ mask);
}
template <class T> T __shfl_sync(unsigned, T value, int lane) {
    return simulated_shuffle_of(value, lane % 32);
}
template <class T> T __shfl_down_sync(unsigned, T value, int by) {
    unsigned lane = simulated_lane() + by;
    return simulated_shuffle_of(value, lane < 32 ? lane : simulated_lane());
}
inline float __uint_as_float(unsigned x) { float y; std::memcpy(&y, &x, 4); return y; }
inline unsigned __float_as_uint(float x) { unsigned y; std::memcpy(&y, &x, 4); return y; }
inline float rsqrtf(float x) { return 1 / sqrtf(x); }
inline float __fadd_rn(float x, float y) { return x + y; }
inline float __fmul_rn(float x, float y) { return x * y; }
inline float __expf(float x) { return expf(x); }
template <class T> T __ldg(const T* p) { return *p; }
template <class T> T atomicAdd(T* p, T x) { T old = *p; *p += x; return old; }
using std::exp; using std::log; using std::sqrt;

template <class... A, size_t... I>
void simulated_call(void (*kernel)(A...), void** arguments, std::index_sequence<I...>) {
    kernel(*static_cast<std::remove_reference_t<A>*>(arguments[I])...);
}
template <class... A>
void simulated_call(void (*kernel)(A...), void** arguments) {
    simulated_call(kernel, arguments, std::index_sequence_for<A...>());
}
