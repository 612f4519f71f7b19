/* Counts allocations of a process. Preloaded, with PYTHONMALLOC=malloc, so that Python's own are seen:
   cc -shared -fPIC -o counted_malloc.so counted_malloc.c */
#include <stddef.h>

extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);

static unsigned long n_allocations;

unsigned long counted_allocations(void) { return n_allocations; }

void *malloc(size_t n_bytes) {
    n_allocations++;
    return __libc_malloc(n_bytes);
}

void *calloc(size_t n, size_t n_bytes) {
    n_allocations++;
    return __libc_calloc(n, n_bytes);
}

void *realloc(void *old, size_t n_bytes) {
    n_allocations++;
    return __libc_realloc(old, n_bytes);
}
