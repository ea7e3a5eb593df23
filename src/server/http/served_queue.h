// Tells of the requests that have been answered, on a thread of its own: whoever is told may write to a file,
// and a slow disk must not keep the network's threads from their connections.
#pragma once

#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>

#include "server/http/server.h"

namespace cachalot::server {

// May be used by several threads at once.
class ServedQueue {
  public:
    // `tell` may be empty: nobody wants to know. What it throws is logged.
    ServedQueue(std::function<void(const Served&)> tell, Log log)
        : tell_(std::move(tell)), log_(std::move(log)) {}
    ~ServedQueue() { stop(); }
    ServedQueue(const ServedQueue&) = delete;

    bool wanted() const { return static_cast<bool>(tell_); }

    // start() makes the thread. While there is none (before start(), after stop(), or because the system has
    // none left), or while kMost wait, push() calls `tell` itself.
    void start();
    void push(Served served);
    void stop();  // returns when all are told

    static constexpr std::size_t kMost = 1024;

  private:
    void run();
    void tell(const Served& served) const;

    const std::function<void(const Served&)> tell_;
    const Log log_;
    std::mutex mutex_;  // of what follows
    std::condition_variable changed_;
    std::deque<Served> waiting_;
    bool running_ = false;
    std::thread thread_;
};

}  // namespace cachalot::server
