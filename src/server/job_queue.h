// The queue in front of a model that serves one request after another.
//
// Two threads: the worker serves jobs by priority, first come first served among equals; the watcher notices clients
// that have gone while their requests wait, and lets those that stay know that they have not been forgotten. What the
// worker runs into, it reports to the job and goes on to the next.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <thread>

#include "server/service.h"

namespace cachalot::server {

class QueuedJob : public Job {
  public:
    QueuedJob(Service::Sink sink, Priority priority, std::function<bool()> abandoned)
        : priority_(priority), sink_(std::move(sink)), abandoned_(std::move(abandoned)) {}

    void cancel() override { cancelled_ = true; }

    // Whether nobody waits any more: the work should stop within a step.
    bool stopped();

    // Passes an event on, from any thread; dropped if nobody waits. After `done` or `failed` nothing is passed on.
    void send(const Event& event);
    void fail(const ApiError& error);

    // Runs the request, on the worker's thread. Sends `done` in the end, unless it was stopped; what it throws is sent
    // as `failed`.
    virtual void serve() = 0;

  private:
    friend class JobQueue;
    void heartbeat(std::chrono::milliseconds period);
    void close();

    const Priority priority_;
    std::atomic<bool> cancelled_ = false;
    std::mutex mutex_;  // of what follows; held while the sink is called
    Service::Sink sink_;
    std::function<bool()> abandoned_;
    Event progress_{Event::Kind::progress};  // the last one
    std::chrono::steady_clock::time_point last_event_ = std::chrono::steady_clock::now();
};

struct QueueOptions {
    std::size_t limit = 64;                     // requests that wait
    std::chrono::milliseconds heartbeat{5000};  // most time without an event
};

class JobQueue {
  public:
    explicit JobQueue(QueueOptions options);
    ~JobQueue();  // fails what is left

    // Throws ApiError 429 "queue_full" or 503 "shutting_down".
    void check_room();
    void push(std::shared_ptr<QueuedJob> job);

    // Takes no more jobs; returns when all are done. Those that are not at the deadline fail.
    void drain(std::chrono::steady_clock::time_point deadline);
    bool draining();

  private:
    void check_room_locked();
    void work();
    void watch();

    const QueueOptions options_;
    std::mutex mutex_;
    std::condition_variable changed_;
    std::multimap<Priority, std::shared_ptr<QueuedJob>> waiting_;
    std::shared_ptr<QueuedJob> running_;
    bool draining_ = false, quit_ = false;
    double seconds_per_job_ = 1;  // moving average
    std::thread worker_, watcher_;
};

}  // namespace cachalot::server
