// As long as it lives no thread can be created: each would need a stack that no address space has.
#pragma once

#include <pthread.h>

#include <cstddef>

namespace cachalot::test {

class NoThreads {
  public:
    NoThreads() {
        pthread_getattr_default_np(&usual_);
        pthread_attr_t huge;
        pthread_getattr_default_np(&huge);
        pthread_attr_setstacksize(&huge, std::size_t{1} << 60);
        pthread_setattr_default_np(&huge);
        pthread_attr_destroy(&huge);
    }
    ~NoThreads() {
        pthread_setattr_default_np(&usual_);
        pthread_attr_destroy(&usual_);
    }
    NoThreads(const NoThreads&) = delete;

  private:
    pthread_attr_t usual_;
};

}  // namespace cachalot::test
