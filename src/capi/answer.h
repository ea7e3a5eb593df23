// An answer between the service, which writes it, and the user, who waits for it.
//
// The service calls a sink with the events of a request, one at a time, and lets go of the sink when nothing
// more will come: after `done` or `failed`, or without a word if the request was cancelled. Whichever comes
// first makes the last event for the user, of which there is exactly one. If the service refuses the request
// there is none, since cachalot_submit() has said so.
#pragma once

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "capi/error.h"
#include "service/service.h"

namespace cachalot::capi {

class Answer {
  public:
    // closing: becomes true before the engine is closed.
    Answer(cachalot_event_callback callback, void* user, std::shared_ptr<std::atomic<bool>> closing)
        : callback_(callback), user_(user), closing_(std::move(closing)) {}

    // For the service. The sink owns the answer together with whoever else does.
    static server::Service::Sink sink(const std::shared_ptr<Answer>& answer);
    // The service has accepted the request.
    void accepted();

    void cancel() { cancelled_ = true; }
    bool cancelled() const { return cancelled_; }

    // Waits for the end; timeout in milliseconds, negative: for ever. Throws CapiError: CACHALOT_TIMEOUT, or
    // what the answer failed with.
    cachalot_result wait(std::int64_t timeout);

  private:
    class Hold;
    void take(const server::Event& event);
    void pass_on(const server::Event& event);
    void dropped();
    void end(const cachalot_error& how);
    void call(const cachalot_event& event);

    const cachalot_event_callback callback_;
    void* const user_;
    const std::shared_ptr<std::atomic<bool>> closing_;
    std::atomic<bool> cancelled_ = false;

    // Of the end, as far as it is known; touched by the sink only.
    std::int32_t reason_ = CACHALOT_END_STOP;
    std::string stop_;
    std::vector<std::int32_t> tokens_;
    cachalot_usage usage_{};

    std::mutex mutex_;  // of what follows
    std::condition_variable changed_;
    bool accepted_ = false, dropped_ = false, ending_ = false, ended_ = false;
    cachalot_result result_{};
    cachalot_error error_{};
};

}  // namespace cachalot::capi
