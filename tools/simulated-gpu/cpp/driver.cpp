// The CUDA driver's memory, streams and events. All work is done at the call.
#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>

typedef int Result;
static std::recursive_mutex memory_lock;
static std::map<uint64_t, size_t> allocations;
static const size_t GUARD = 64;
static const unsigned char GUARD_BYTE = 0xA5;

// How often the host would wait for a real GPU; printed at the end if SIMULATED_GPU_REPORT is set.
static std::atomic<unsigned> waits;
static struct Report {
    ~Report() {
        if (getenv("SIMULATED_GPU_REPORT")) fprintf(stderr, "simulated GPU: the host waited %u times\n", waits.load());
    }
} report;
static std::map<uint64_t, size_t> pinned;

static bool is_pinned(const void* memory, size_t bytes) {
    std::lock_guard<std::recursive_mutex> lock(memory_lock);
    auto after = pinned.upper_bound((uint64_t)memory);
    if (after == pinned.begin()) return false;
    --after;
    return (uint64_t)memory + bytes <= after->first + after->second;
}

static void fail(const char* what, uint64_t address, size_t bytes) {
    fprintf(stderr, "simulated GPU: %s at %llx, %zu bytes\n", what, (unsigned long long)address, bytes);
    abort();
}

// Checks that a range of memory lies in one allocation.
static void check(uint64_t address, size_t bytes) {
    if (bytes == 0) return;
    std::lock_guard<std::recursive_mutex> lock(memory_lock);
    auto after = allocations.upper_bound(address);
    if (after == allocations.begin()) fail("no allocation", address, bytes);
    --after;
    if (address + bytes > after->first + after->second) fail("outside its allocation", address, bytes);
}

static Result allocate(uint64_t* address, size_t bytes) {
    // More than any test needs: a larger size is an error.
    if (bytes > ((size_t)12 << 30)) return 2;
    void* memory = nullptr;
    if (posix_memalign(&memory, 256, bytes + GUARD)) return 2;
    // NaN in every floating-point type, so that reads of unwritten memory show.
    memset(memory, 0xFF, bytes < ((size_t)1 << 26) ? bytes : ((size_t)1 << 26));
    memset((char*)memory + bytes, GUARD_BYTE, GUARD);
    std::lock_guard<std::recursive_mutex> lock(memory_lock);
    allocations[(uint64_t)memory] = bytes;
    *address = (uint64_t)memory;
    return 0;
}

static Result release(uint64_t address) {
    if (!address) return 0;
    std::lock_guard<std::recursive_mutex> lock(memory_lock);
    auto found = allocations.find(address);
    if (found == allocations.end()) fail("freed, but not allocated", address, 0);
    for (size_t i = 0; i < GUARD; i++)
        if (((unsigned char*)address)[found->second + i] != GUARD_BYTE)
            fail("written past its end", address, found->second);
    allocations.erase(found);
    free((void*)address);
    return 0;
}

extern "C" {
Result cuInit(unsigned) { return 0; }
Result cuDriverGetVersion(int* version) { *version = 13000; return 0; }
Result cuDeviceGetCount(int* count) {
    const char* wanted = getenv("SIMULATED_GPUS");
    *count = wanted ? atoi(wanted) : 1;
    return 0;
}
Result cuDeviceGet(int* device, int ordinal) { *device = ordinal; return 0; }
Result cuDeviceGetName(char* name, int length, int) { snprintf(name, length, "simulated GPU"); return 0; }
Result cuDeviceTotalMem_v2(size_t* bytes, int) { *bytes = (size_t)8 << 30; return 0; }
Result cuDeviceGetAttribute(int* value, int attribute, int) {
    switch (attribute) {
    case 75: *value = 9; break;    // compute capability, major
    case 76: *value = 0; break;
    case 16: *value = 132; break;  // multiprocessors
    case 10: *value = 32; break;   // warp
    case 115: *value = 1; break;   // memory pools
    default: *value = 1;
    }
    return 0;
}
Result cuDevicePrimaryCtxRetain(void** context, int) { *context = (void*)0x1000; return 0; }
Result cuCtxGetCurrent(void** context) { *context = (void*)0x1000; return 0; }
Result cuMemGetInfo_v2(size_t* available, size_t* total) {
    *total = (size_t)8 << 30;
    *available = (size_t)64 << 20;  // keeps workspaces small
    return 0;
}
Result cuStreamCreate(void** stream, unsigned) { static uint64_t n = 0x2000; *stream = (void*)n++; return 0; }
Result cuStreamCreateWithPriority(void** stream, unsigned flags, int) { return cuStreamCreate(stream, flags); }
Result cuStreamIsCapturing(void*, int* status) { *status = 0; return 0; }
Result cuEventCreate(void** event, unsigned) { static uint64_t n = 0x3000; *event = (void*)n++; return 0; }
Result cuEventElapsedTime(float* ms, void*, void*) { *ms = 1; return 0; }
Result cuEventElapsedTime_v2(float* ms, void*, void*) { *ms = 1; return 0; }
Result cuMemAllocAsync(uint64_t* address, size_t bytes, void*) { return allocate(address, bytes); }
Result cuMemAlloc_v2(uint64_t* address, size_t bytes) { waits++; return allocate(address, bytes); }
Result cuMemFreeAsync(uint64_t address, void*) { return release(address); }
Result cuMemFree_v2(uint64_t address) { waits++; return release(address); }
Result cuMemHostAlloc(void** memory, size_t bytes, unsigned) {
    *memory = malloc(bytes ? bytes : 1);
    std::lock_guard<std::recursive_mutex> lock(memory_lock);
    pinned[(uint64_t)*memory] = bytes;
    return 0;
}
Result cuMemFreeHost(void* memory) {
    std::lock_guard<std::recursive_mutex> lock(memory_lock);
    pinned.erase((uint64_t)memory);
    free(memory);
    return 0;
}
Result cuStreamSynchronize(void*) { waits++; return 0; }
Result cuCtxSynchronize() { waits++; return 0; }
Result cuMemsetD8Async(uint64_t to, unsigned char value, size_t bytes, void*) {
    check(to, bytes); memset((void*)to, value, bytes); return 0;
}
Result cuMemsetD8_v2(uint64_t to, unsigned char value, size_t bytes) { return cuMemsetD8Async(to, value, bytes, nullptr); }
Result cuMemcpyHtoDAsync_v2(uint64_t to, const void* from, size_t bytes, void*) {
    // The driver copies up to 64 KiB of pageable memory along with the command.
    if (bytes > 65536 && !is_pinned(from, bytes)) waits++;
    check(to, bytes); memcpy((void*)to, from, bytes); return 0;
}
Result cuMemcpyHtoD_v2(uint64_t to, const void* from, size_t bytes) { return cuMemcpyHtoDAsync_v2(to, from, bytes, nullptr); }
Result cuMemcpyDtoHAsync_v2(void* to, uint64_t from, size_t bytes, void*) {
    if (!is_pinned(to, bytes)) waits++;
    check(from, bytes); memcpy(to, (const void*)from, bytes); return 0;
}
Result cuMemcpyDtoH_v2(void* to, uint64_t from, size_t bytes) { return cuMemcpyDtoHAsync_v2(to, from, bytes, nullptr); }
Result cuMemcpyDtoDAsync_v2(uint64_t to, uint64_t from, size_t bytes, void*) {
    check(to, bytes); check(from, bytes); memmove((void*)to, (const void*)from, bytes); return 0;
}
Result cuGetErrorName(int, const char** text) { *text = "CUDA_ERROR_SIMULATED"; return 0; }
Result cuGetErrorString(int, const char** text) { *text = "refused by the simulated GPU"; return 0; }
}
