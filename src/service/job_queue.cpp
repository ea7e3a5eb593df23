#include "service/job_queue.h"

#include <algorithm>
#include <cmath>

#include "base/background.h"
#include "service/client_error.h"

namespace cachalot::server {
namespace {

using Clock = std::chrono::steady_clock;
constexpr std::chrono::milliseconds kWatchPeriod{50};

ApiError shutting_down() {
    ApiError error(503, "shutting_down", "the server is shutting down");
    error.retry_after = 5;
    return error;
}

}  // namespace

bool QueuedJob::stopped() {
    if (cancelled_) return true;
    std::lock_guard lock(mutex_);
    if (!sink_ || (abandoned_ && abandoned_())) cancelled_ = true;
    return cancelled_;
}

void QueuedJob::send(const Event& event) {
    std::lock_guard lock(mutex_);
    if (cancelled_ || !sink_) return;
    last_event_ = Clock::now();
    if (event.kind == Event::Kind::progress) progress_ = event;
    const bool last = event.kind == Event::Kind::done || event.kind == Event::Kind::failed;
    try {
        sink_(event);
    } catch (...) {
        if (!last) throw;                                   // the work ends, and says so
        lost("the end of an answer could not be written");  // whoever waits is let go of without a word
    }
    if (last) sink_ = nullptr;
}

void QueuedJob::fail(const ApiError& error) {
    Event event{Event::Kind::failed};
    event.error = std::make_shared<const ApiError>(error);
    send(event);
}

void QueuedJob::fail(std::exception_ptr error) { fail(client_error(error, Fault::server, log_, id_)); }

// Out of memory, or a mistake of the dialect's.
void QueuedJob::lost(const char* what) const {
    log_.often(LogLevel::error, what, {{"request", id_}, {"error", cause_of()}});
}

// Also in the middle of an answer: what a tag or the JSON of an argument holds back may take minutes to
// write.
void QueuedJob::heartbeat(std::chrono::milliseconds period) {
    std::lock_guard lock(mutex_);
    if (cancelled_ || !sink_ || Clock::now() - last_event_ < period) return;
    last_event_ = Clock::now();
    try {
        sink_(progress_);
    } catch (...) {
        cancelled_ = true;
        lost("an answer broke off");
    }
}

// Lets go of whoever waited: sinks often own what owns the job.
void QueuedJob::close() {
    std::lock_guard lock(mutex_);
    sink_ = nullptr;
    abandoned_ = nullptr;
}

JobQueue::JobQueue(QueueOptions options)
    : options_(options), watcher_(start_thread("the queue", [this] { watch(); })) {}

JobQueue::~JobQueue() {
    {
        std::lock_guard lock(mutex_);
        quit_ = true;
    }
    changed_.notify_all();
    watcher_.join();
}

std::vector<JobQueue::Taken>::iterator JobQueue::find_locked(const QueuedJob& job) {
    return std::find_if(taken_.begin(), taken_.end(), [&](const Taken& t) { return t.job.get() == &job; });
}

std::size_t JobQueue::running_locked() const {
    return static_cast<std::size_t>(std::count_if(
        taken_.begin(), taken_.end(), [](const Taken& t) { return t.begun != Clock::time_point(); }));
}

void JobQueue::check_room_locked() {
    if (draining_) throw shutting_down();
    auto running = running_locked(), waiting = waiting_.size() + taken_.size() - running;
    if (waiting < options_.limit) return;
    ApiError error(429, "queue_full",
                   fmt::format("{} requests are waiting already; try again later", waiting));
    auto wait = std::ceil(seconds_per_job_ * static_cast<double>(waiting) /
                          static_cast<double>(std::max<std::size_t>(running, 1)));
    error.retry_after = static_cast<int>(std::clamp(wait, 1.0, 60.0));
    throw error;
}

void JobQueue::check_room() {
    std::lock_guard lock(mutex_);
    check_room_locked();
}

bool JobQueue::draining() {
    std::lock_guard lock(mutex_);
    return draining_;
}

void JobQueue::push(std::shared_ptr<QueuedJob> job) {
    {
        std::lock_guard lock(mutex_);
        check_room_locked();
        auto priority = job->priority_;
        waiting_.emplace(priority, std::move(job));
    }
    changed_.notify_all();
}

std::shared_ptr<QueuedJob> JobQueue::take(bool wait) {
    std::unique_lock lock(mutex_);
    if (wait) changed_.wait(lock, [&] { return quit_ || !waiting_.empty(); });
    if (waiting_.empty()) return nullptr;
    auto job = waiting_.begin()->second;
    waiting_.erase(waiting_.begin());
    taken_.push_back({job, {}});
    return job;
}

void JobQueue::begun(const QueuedJob& job) {
    std::lock_guard lock(mutex_);
    if (auto taken = find_locked(job); taken != taken_.end()) taken->begun = Clock::now();
}

void JobQueue::over(const std::shared_ptr<QueuedJob>& job) {
    job->close();
    {
        std::lock_guard lock(mutex_);
        auto taken = find_locked(*job);
        if (taken == taken_.end()) return;
        if (taken->begun != Clock::time_point()) {
            std::chrono::duration<double> took = Clock::now() - taken->begun;
            seconds_per_job_ += (took.count() - seconds_per_job_) / 8;
        }
        taken_.erase(taken);
    }
    changed_.notify_all();
}

void JobQueue::drain(Clock::time_point deadline) {
    std::unique_lock lock(mutex_);
    draining_ = true;
    auto idle = [&] { return waiting_.empty() && taken_.empty(); };
    if (changed_.wait_until(lock, deadline, idle)) return;
    std::vector<std::shared_ptr<QueuedJob>> rest;
    for (auto& [priority, job] : std::exchange(waiting_, {})) rest.push_back(job);
    for (auto& taken : taken_) rest.push_back(taken.job);
    lock.unlock();
    for (auto& job : rest) {
        job->fail(shutting_down());
        job->close();
    }
    rest.clear();
    lock.lock();
    changed_.wait(lock, idle);
}

void JobQueue::quit() {
    drain(Clock::now());
    {
        std::lock_guard lock(mutex_);
        quit_ = true;
    }
    changed_.notify_all();
}

void JobQueue::watch() {
    std::unique_lock lock(mutex_);
    while (!quit_) {
        if (waiting_.empty() && taken_.empty()) {
            changed_.wait(lock);
            continue;
        }
        changed_.wait_for(lock, kWatchPeriod, [&] { return quit_; });
        std::vector<std::shared_ptr<QueuedJob>> jobs;
        for (auto& [priority, job] : waiting_) jobs.push_back(job);
        for (auto& taken : taken_) jobs.push_back(taken.job);
        // Sinks and clients are asked without the queue's lock: they may well submit or drain.
        lock.unlock();
        std::erase_if(jobs, [&](const auto& job) {
            bool stopped = job->stopped();
            if (!stopped) job->heartbeat(options_.heartbeat);
            return !stopped;
        });
        lock.lock();
        bool erased = std::erase_if(waiting_, [&](const auto& entry) {
            return std::find(jobs.begin(), jobs.end(), entry.second) != jobs.end();
        });
        if (erased) changed_.notify_all();
        lock.unlock();
        for (auto& job : jobs) job->close();  // those that were taken, too: the worker notices
        jobs.clear();
        lock.lock();
    }
}

}  // namespace cachalot::server
