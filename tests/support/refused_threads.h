// A system that gives no more threads, as where a container or ulimit -u has a limit. To be included by one
// file of a test program, whose pthread_create then stands before that of the system.
#pragma once

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define CACHALOT_OTHERS_CREATE_THREADS
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define CACHALOT_OTHERS_CREATE_THREADS  // they have a pthread_create of their own
#endif
#endif

#if defined(__linux__) && !defined(CACHALOT_OTHERS_CREATE_THREADS)

#include <dlfcn.h>
#include <pthread.h>

#include <atomic>
#include <cerrno>

namespace cachalot::test {

inline std::atomic<int> threads_left = -1;  // until the next is refused; -1: no limit

class RefusedThreads {
  public:
    explicit RefusedThreads(int given) { threads_left = given; }
    ~RefusedThreads() { threads_left = -1; }
};

}  // namespace cachalot::test

extern "C" int pthread_create(pthread_t* thread, const pthread_attr_t* attributes, void* (*start)(void*),
                              void* argument) {
    using cachalot::test::threads_left;
    if (threads_left == 0) return EAGAIN;
    if (threads_left > 0) --threads_left;
    using Create = int (*)(pthread_t*, const pthread_attr_t*, void* (*)(void*), void*);
    static const auto real = reinterpret_cast<Create>(::dlsym(RTLD_NEXT, "pthread_create"));
    return real(thread, attributes, start, argument);
}

#define CACHALOT_CAN_REFUSE_THREADS

#endif
