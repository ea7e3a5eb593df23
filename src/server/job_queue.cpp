#include "server/job_queue.h"

#include <algorithm>
#include <cmath>
#include <vector>

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
    sink_(event);
    if (event.kind == Event::Kind::done || event.kind == Event::Kind::failed) sink_ = nullptr;
}

void QueuedJob::fail(const ApiError& error) {
    Event event{Event::Kind::failed};
    event.error = std::make_shared<const ApiError>(error);
    send(event);
}

// Also in the middle of an answer: what a tag or the JSON of an argument holds back may take minutes to write.
void QueuedJob::heartbeat(std::chrono::milliseconds period) {
    std::lock_guard lock(mutex_);
    if (cancelled_ || !sink_ || Clock::now() - last_event_ < period) return;
    last_event_ = Clock::now();
    sink_(progress_);
}

// Lets go of whoever waited: sinks often own what owns the job.
void QueuedJob::close() {
    std::lock_guard lock(mutex_);
    sink_ = nullptr;
    abandoned_ = nullptr;
}

JobQueue::JobQueue(QueueOptions options)
    : options_(options), worker_([this] { work(); }), watcher_([this] { watch(); }) {}

JobQueue::~JobQueue() {
    drain(Clock::now());
    {
        std::lock_guard lock(mutex_);
        quit_ = true;
    }
    changed_.notify_all();
    worker_.join();
    watcher_.join();
}

void JobQueue::check_room_locked() {
    if (draining_) throw shutting_down();
    if (waiting_.size() < options_.limit) return;
    ApiError error(429, "queue_full",
                   fmt::format("{} requests are waiting already; try again later", waiting_.size()));
    auto wait = std::ceil(seconds_per_job_ * static_cast<double>(waiting_.size()));
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

void JobQueue::drain(Clock::time_point deadline) {
    std::unique_lock lock(mutex_);
    draining_ = true;
    auto idle = [&] { return waiting_.empty() && !running_; };
    if (changed_.wait_until(lock, deadline, idle)) return;
    auto rest = std::exchange(waiting_, {});
    if (running_) rest.emplace(Priority::interactive, running_);
    lock.unlock();
    for (auto& [priority, job] : rest) {
        job->fail(shutting_down());
        job->close();
    }
    lock.lock();
    changed_.wait(lock, idle);
}

void JobQueue::work() {
    std::unique_lock lock(mutex_);
    while (true) {
        changed_.wait(lock, [&] { return quit_ || !waiting_.empty(); });
        if (waiting_.empty()) return;
        running_ = waiting_.begin()->second;
        waiting_.erase(waiting_.begin());
        auto job = running_;
        lock.unlock();
        auto start = Clock::now();
        try {
            if (!job->stopped()) job->serve();
        } catch (const ApiError& e) {
            job->fail(e);
        } catch (const std::exception& e) {
            job->fail(
                {500, "internal_error", fmt::format("the request could not be completed: {}", e.what())});
        }
        job->close();
        job.reset();
        std::chrono::duration<double> taken = Clock::now() - start;
        lock.lock();
        seconds_per_job_ += (taken.count() - seconds_per_job_) / 8;
        running_.reset();
        changed_.notify_all();
    }
}

void JobQueue::watch() {
    std::unique_lock lock(mutex_);
    while (!quit_) {
        if (waiting_.empty() && !running_) {
            changed_.wait(lock);
            continue;
        }
        changed_.wait_for(lock, kWatchPeriod, [&] { return quit_; });
        std::vector<std::shared_ptr<QueuedJob>> jobs;
        for (auto& [priority, job] : waiting_) jobs.push_back(job);
        if (running_) jobs.push_back(running_);
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
        for (auto& job : jobs) job->close();  // running ones, too: the worker notices
        jobs.clear();
        lock.lock();
    }
}

}  // namespace cachalot::server
