// Threads on which requests are read: JSON, prompts and tokens of what may be a large body.
//
// The network's threads only move bytes, so that no body, however large or odd, keeps other connections
// waiting. What is done here has a lower priority than the model: on a busy machine answers flow on, and new
// requests take longer to begin. One thread is for small bodies alone, and each takes in turn the smallest
// that waits and the one that has waited longest: so nothing waits forever, and little waits for much. A
// connection has one request at a time here.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <functional>
#include <list>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/log.h"

namespace cachalot::server {

class RequestWorkers {
  public:
    static constexpr std::size_t kSmall = std::size_t{1} << 20;  // bytes of a body

    // At most `limit` requests wait. The log is told of work that throws.
    RequestWorkers(int threads, std::size_t limit, Log log = {})
        : wanted_(threads), limit_(limit), log_(std::move(log)) {}
    ~RequestWorkers() { stop(); }
    RequestWorkers(const RequestWorkers&) = delete;

    // Throws Error if not even one thread can be created; with fewer than wanted it goes on.
    void start();
    int threads() const { return static_cast<int>(threads_.size()); }

    // Has `work` done for a body of this size. False if too much waits already, or after stop().
    bool post(std::size_t bytes, std::function<void()> work);

    // Returns when what is being done is done; what waits is dropped.
    void stop();

  private:
    struct Job {
        std::size_t bytes;
        std::function<void()> work;
    };
    void run(bool small_only);
    std::list<Job>::iterator choose_locked(bool small_only, bool smallest);

    const int wanted_;
    const std::size_t limit_;
    const Log log_;
    std::mutex mutex_;
    std::condition_variable changed_;
    std::list<Job> waiting_;  // in the order of arrival
    bool running_ = false;
    std::vector<std::thread> threads_;
};

}  // namespace cachalot::server
