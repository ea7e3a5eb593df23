#include "file/temporary_names.h"

#include <pthread.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <vector>

namespace cachalot {
namespace {

std::atomic_flag taken = ATOMIC_FLAG_INIT;

void take() noexcept {
    while (taken.test_and_set(std::memory_order_acquire)) {
    }
}

// Holds the list. The thread that holds it takes no signals meanwhile, so a handler that waits for it, which
// is then in another thread, waits only for a moment.
class Hold {
  public:
    Hold() {
        sigset_t all;
        ::sigfillset(&all);
        ::pthread_sigmask(SIG_BLOCK, &all, &before_);
        take();
    }
    ~Hold() {
        taken.clear(std::memory_order_release);
        ::pthread_sigmask(SIG_SETMASK, &before_, nullptr);
    }
    Hold(const Hold&) = delete;
    Hold& operator=(const Hold&) = delete;

  private:
    sigset_t before_;
};

// Never destroyed: a signal may come while the process ends.
std::vector<const std::string*>& names() {
    static auto* list = new std::vector<const std::string*>;
    return *list;
}

std::atomic<const std::vector<const std::string*>*> for_handler = nullptr;

}  // namespace

void note_temporary_file(const std::string& name) {
    const Hold hold;
    names().push_back(&name);
    for_handler = &names();
}

void forget_temporary_file(const std::string& name) noexcept {
    const Hold hold;
    std::erase(names(), &name);
}

void remove_temporary_files() noexcept {
    const auto* list = for_handler.load();
    if (!list) return;
    take();
    for (const std::string* name : *list) ::unlink(name->c_str());
}

}  // namespace cachalot
