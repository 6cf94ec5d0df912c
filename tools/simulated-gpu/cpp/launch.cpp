// The CUDA driver's modules and kernels. The threads of a block are fibers, each of which runs up to
// the next barrier in turn.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <mutex>
#include <string>
#include <vector>

struct Dim { unsigned x, y, z; };
typedef void (*Kernel)(void** arguments);
struct Module { void* library; };
struct Function { Kernel kernel; std::string name; };

Kernel kernel_of_candle(const char* name);

extern "C" {
Dim simulated_thread, simulated_block, simulated_block_size, simulated_grid_size;
unsigned char simulated_dynamic_shared[1 << 17];
void simulated_switch(void** from, void* to);
}
asm(R"(
.text
.globl simulated_switch
simulated_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
)");

enum State { READY, AT_WARP, AT_BLOCK, DONE };
struct Fiber { void* stack; void* stack_pointer; State state; Dim thread; uint64_t shared; };

static std::recursive_mutex launch_lock;
static std::vector<Fiber> fibers;
static void* scheduler;
static Fiber* current;
static Function* running;
static void** running_arguments;
static const size_t STACK = 1 << 16;

static void body() {
    for (;;) {
        running->kernel(running_arguments);
        current->state = DONE;
        simulated_switch(&current->stack_pointer, scheduler);
    }
}

static void prepare(Fiber& fiber) {
    if (!fiber.stack) fiber.stack = aligned_alloc(64, STACK);
    void** top = (void**)((char*)fiber.stack + STACK) - 2;
    *top = (void*)body;
    fiber.stack_pointer = top - 6;
    memset(fiber.stack_pointer, 0, 6 * sizeof(void*));
    fiber.state = READY;
}

static void run(Fiber& fiber) {
    current = &fiber;
    simulated_thread = fiber.thread;
    simulated_switch(&scheduler, fiber.stack_pointer);
}

static void wait(State state) {
    Fiber* mine = current;
    mine->state = state;
    simulated_switch(&mine->stack_pointer, scheduler);
}

extern "C" void simulated_barrier() { wait(AT_BLOCK); }
extern "C" void simulated_warp_barrier() { wait(AT_WARP); }
extern "C" unsigned long long simulated_shuffle(unsigned long long bits, unsigned lane) {
    size_t mine = current - fibers.data();
    fibers[mine].shared = bits;
    wait(AT_WARP);
    unsigned long long other = fibers[mine / 32 * 32 + lane].shared;
    wait(AT_WARP);
    return other;
}

static void fail_kernel(const char* what) {
    fprintf(stderr, "simulated GPU: kernel %s: %s\n", running->name.c_str(), what);
    abort();
}

static void run_block(size_t threads) {
    for (size_t i = 0; i < threads; i++) prepare(fibers[i]);
    for (;;) {
        size_t done = 0, waiting = 0;
        for (size_t warp = 0; warp < threads; warp += 32) {
            size_t end = warp + 32 < threads ? warp + 32 : threads;
            for (;;) {
                size_t at_warp = 0, alive = 0;
                for (size_t i = warp; i < end; i++) {
                    if (fibers[i].state == READY) run(fibers[i]);
                    alive += fibers[i].state != DONE;
                    at_warp += fibers[i].state == AT_WARP;
                }
                if (at_warp == 0) break;
                if (at_warp != alive || alive != end - warp) fail_kernel("not all threads of a warp reach a barrier or shuffle");
                for (size_t i = warp; i < end; i++) fibers[i].state = READY;
            }
            for (size_t i = warp; i < end; i++) {
                done += fibers[i].state == DONE;
                waiting += fibers[i].state == AT_BLOCK;
            }
        }
        if (done == threads) return;
        if (waiting != threads) fail_kernel("not all threads of a block reach a barrier");
        for (size_t i = 0; i < threads; i++) fibers[i].state = READY;
    }
}

extern "C" {
int cuModuleLoadData(void** module, const void* image) {
    const char* text = (const char*)image;
    const char* mark = "// simulated ";
    Module* made = new Module{nullptr};
    if (!strncmp(text, mark, strlen(mark))) {
        std::string path(text + strlen(mark));
        path.erase(path.find('\n'));
        made->library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
        if (!made->library) { fprintf(stderr, "simulated GPU: %s\n", dlerror()); return 200; }
    }
    *module = made;
    return 0;
}
int cuModuleLoadDataEx(void** module, const void* image, unsigned, void*, void*) { return cuModuleLoadData(module, image); }
int cuModuleGetFunction(void** function, void* module, const char* name) {
    Module* from = (Module*)module;
    Kernel kernel = from->library
        ? (Kernel)dlsym(from->library, (std::string("simulated_launch_") + name).c_str())
        : kernel_of_candle(name);
    if (!kernel) { fprintf(stderr, "simulated GPU: kernel %s is not simulated\n", name); return 500; }
    *function = new Function{kernel, name};
    return 0;
}
int cuLaunchKernel(void* function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by,
                   unsigned bz, unsigned shared, void*, void** arguments, void**) {
    size_t threads = (size_t)bx * by * bz;
    if (!threads || threads > 1024 || !gx || !gy || !gz || gx > 2147483647u || gy > 65535 || gz > 65535 ||
        shared > 49152) {
        fprintf(stderr, "simulated GPU: kernel %s: grid %u,%u,%u block %u,%u,%u shared %u\n",
                ((Function*)function)->name.c_str(), gx, gy, gz, bx, by, bz, shared);
        return 1;
    }
    std::lock_guard<std::recursive_mutex> lock(launch_lock);
    if (fibers.empty()) fibers.resize(1024);
    running = (Function*)function;
    running_arguments = arguments;
    simulated_grid_size = {gx, gy, gz};
    simulated_block_size = {bx, by, bz};
    for (size_t i = 0; i < threads; i++)
        fibers[i].thread = {(unsigned)(i % bx), (unsigned)(i / bx % by), (unsigned)(i / bx / by)};
    for (unsigned z = 0; z < gz; z++)
        for (unsigned y = 0; y < gy; y++)
            for (unsigned x = 0; x < gx; x++) {
                simulated_block = {x, y, z};
                memset(simulated_dynamic_shared, 0xFF, shared);
                run_block(threads);
            }
    return 0;
}
}
