// A system that gives no more threads, as where a container or ulimit -u has a limit. To be included by one
// file of a test program, whose pthread_create then stands before that of the system.
//
// Sanitizers have a pthread_create of their own, which has to stay. There no thread at all can be given: each
// would need a stack that no address space has.
#pragma once

#include <dlfcn.h>
#include <pthread.h>

#include <atomic>
#include <cerrno>
#include <cstddef>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define CACHALOT_OTHERS_CREATE_THREADS
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define CACHALOT_OTHERS_CREATE_THREADS
#endif
#endif

namespace cachalot::test {

#if defined(CACHALOT_OTHERS_CREATE_THREADS)
inline constexpr bool kThreadsAreCounted = false;

// As long as it lives no thread can be created.
class RefusedThreads {
  public:
    RefusedThreads() {
        pthread_getattr_default_np(&usual_);
        pthread_attr_t huge;
        pthread_getattr_default_np(&huge);
        pthread_attr_setstacksize(&huge, std::size_t{1} << 60);
        pthread_setattr_default_np(&huge);
        pthread_attr_destroy(&huge);
    }
    explicit RefusedThreads(int) : RefusedThreads() {}  // 0: see kThreadsAreCounted
    ~RefusedThreads() {
        pthread_setattr_default_np(&usual_);
        pthread_attr_destroy(&usual_);
    }
    RefusedThreads(const RefusedThreads&) = delete;
    RefusedThreads& operator=(const RefusedThreads&) = delete;

  private:
    pthread_attr_t usual_;
};

#else
inline constexpr bool kThreadsAreCounted = true;  // whether some may be given before the others are refused
inline std::atomic<int> threads_left = -1;        // until the next is refused; -1: no limit

// As long as it lives no more than `given` threads can be created.
class RefusedThreads {
  public:
    explicit RefusedThreads(int given = 0) { threads_left = given; }
    ~RefusedThreads() { threads_left = -1; }
    RefusedThreads(const RefusedThreads&) = delete;
    RefusedThreads& operator=(const RefusedThreads&) = delete;
};
#endif

}  // namespace cachalot::test

#if !defined(CACHALOT_OTHERS_CREATE_THREADS)
extern "C" int pthread_create(pthread_t* thread, const pthread_attr_t* attributes, void* (*start)(void*),
                              void* argument) {
    using cachalot::test::threads_left;
    if (threads_left == 0) return EAGAIN;
    if (threads_left > 0) --threads_left;
    using Create = int (*)(pthread_t*, const pthread_attr_t*, void* (*)(void*), void*);
    static const auto real = reinterpret_cast<Create>(::dlsym(RTLD_NEXT, "pthread_create"));
    return real(thread, attributes, start, argument);
}
#endif
