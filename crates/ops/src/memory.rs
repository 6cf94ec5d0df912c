//! Settings of the memory allocator.

/// Makes the system's allocator keep freed memory for the next step.
///
/// A training step frees hundreds of megabytes of intermediate results and allocates as much
/// again. By default glibc returns blocks of that size to the operating system, which must clear
/// every page anew: a quarter of the time of a small network's step. Call this once, at the start
/// of a program that trains. It does nothing except on Linux with glibc.
pub fn keep_freed_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: mallopt only sets parameters of the allocator, under its lock.
    unsafe {
        // Large blocks come from the heap, and the heap does not shrink.
        libc::mallopt(libc::M_MMAP_MAX, 0);
        libc::mallopt(libc::M_TRIM_THRESHOLD, -1);
        libc::mallopt(libc::M_TOP_PAD, 64 << 20);
    }
}
