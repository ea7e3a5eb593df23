// The jobs that a service has accepted: those that wait, and those that its worker has taken.
//
// The worker is the service's own thread; it takes jobs by priority, first come first served among equals,
// says when each begins to be answered, and when it is over. A watcher notices clients that have gone, and
// lets those that stay know that they have not been forgotten.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <map>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "base/log.h"
#include "service/service.h"

namespace cachalot::server {

class QueuedJob : public Job {
  public:
    // Of the request only its id, its priority and how to know whether it is abandoned are kept.
    QueuedJob(Service::Sink sink, const Request& request, Log log)
        : priority_(request.priority),
          id_(request.id),
          log_(std::move(log)),
          sink_(std::move(sink)),
          abandoned_(request.abandoned) {}

    void cancel() override { cancelled_ = true; }

    // Whether nobody waits any more: the work should stop within a step.
    bool stopped();

    // Passes an event on, from any thread; dropped if nobody waits. After `done` or `failed` nothing is
    // passed on.
    void send(const Event& event);
    void fail(const ApiError& error);
    // With what the work has thrown, as clients are told of it (client_error.h).
    void fail(std::exception_ptr error);

  private:
    friend class JobQueue;
    void heartbeat(std::chrono::milliseconds period);
    void close();

    void lost(const char* what) const;

    const Priority priority_;
    const std::string id_;
    const Log log_;
    std::atomic<bool> cancelled_ = false;
    std::mutex mutex_;  // of what follows; held while the sink is called
    Service::Sink sink_;
    std::function<bool()> abandoned_;
    Event progress_{Event::Kind::progress};  // the last one
    std::chrono::steady_clock::time_point last_event_ = std::chrono::steady_clock::now();
};

struct QueueOptions {
    std::size_t limit = 64;                     // requests that wait; at least 1, or all are refused
    std::chrono::milliseconds heartbeat{5000};  // most time without an event
};

class JobQueue {
  public:
    explicit JobQueue(QueueOptions options);
    ~JobQueue();  // the worker must have ended

    // Throws ApiError 429 "queue_full" or 503 "shutting_down".
    void check_room();
    void push(std::shared_ptr<QueuedJob> job);

    // For the worker. The next job; null if there is none, or with `wait`, once quit() was called. A job that
    // was taken still waits until it has begun().
    std::shared_ptr<QueuedJob> take(bool wait);
    void begun(const QueuedJob& job);
    void over(const std::shared_ptr<QueuedJob>& job);

    // Takes no more jobs; returns when all are over. Those that are not at the deadline fail.
    void drain(std::chrono::steady_clock::time_point deadline);
    bool draining();

    // Fails what is left, and tells the worker to end.
    void quit();

  private:
    using Clock = std::chrono::steady_clock;
    struct Taken {
        std::shared_ptr<QueuedJob> job;
        Clock::time_point begun{};  // not yet
    };
    std::vector<Taken>::iterator find_locked(const QueuedJob& job);
    std::size_t running_locked() const;
    void check_room_locked();
    void watch();

    const QueueOptions options_;
    std::mutex mutex_;
    std::condition_variable changed_;
    std::multimap<Priority, std::shared_ptr<QueuedJob>> waiting_;
    std::vector<Taken> taken_;
    bool draining_ = false, quit_ = false;
    double seconds_per_job_ = 1;  // moving average
    std::thread watcher_;
};

}  // namespace cachalot::server
