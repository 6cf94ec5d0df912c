//! Memory between steps.

/// Has the system's allocator keep freed memory for the next step.
///
/// A training step frees hundreds of megabytes of intermediate results and asks for as much
/// again. By default glibc hands blocks of that size back to the kernel, which must clear
/// every page anew: a quarter of the time of a small network's step. Call it once, at the
/// start of a program that trains. Elsewhere than on Linux with glibc it does nothing.
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
