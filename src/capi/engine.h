// An open model behind the C interface.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "capi/error.h"
#include "service/open_service.h"

struct cachalot_engine {
    std::unique_ptr<cachalot::server::OpenedService> opened;
    std::string name, kernels;
    // Shared with requests, whose last event may come while the engine is being closed.
    std::shared_ptr<std::atomic<bool>> closing = std::make_shared<std::atomic<bool>>(false);

    std::mutex fingerprint_mutex;
    std::optional<cachalot::ChainKey> fingerprint;  // of states, once it was needed

    const cachalot::Tokenizer& tokenizer() const { return opened->engine.model().tokenizer; }
};
