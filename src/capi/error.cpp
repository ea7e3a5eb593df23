#include "capi/error.h"

#include <algorithm>
#include <cstring>
#include <new>
#include <stdexcept>

#include "base/out_of_memory.h"

namespace cachalot::capi {
namespace {

cachalot_status status_of(const server::ApiError& e) {
    if (e.code == "context_length_exceeded") return CACHALOT_TOO_LONG;
    if (e.code == "queue_full") return CACHALOT_BUSY;
    if (e.code == "shutting_down") return CACHALOT_CLOSING;
    return e.status < 500 ? CACHALOT_INVALID : CACHALOT_FAILED;
}

}  // namespace

thread_local int CallbackScope::depth_ = 0;

void CallbackScope::refuse(const char* function) {
    if (active())
        invalid("{} would wait for the callback that calls it; call it from another thread", function);
}

void need(const void* argument, const char* name) {
    if (!argument) invalid("{} is NULL", name);
}

std::vector<std::string> strings(const char* const* list, std::size_t count, const char* name) {
    const auto given = elements(list, count, name);
    std::vector<std::string> out;
    for (std::size_t i = 0; i < given.size(); ++i) {
        if (!given[i]) invalid("{}[{}] is NULL", name, i);
        out.emplace_back(given[i]);
    }
    return out;
}

bool flag(std::int32_t value, const char* name) {
    if (value != 0 && value != 1) invalid("{} is {}, not 0 or 1", name, value);
    return value == 1;
}

cachalot_status report(cachalot_error* error, cachalot_status status, std::string_view message) noexcept {
    if (!error) return status;
    error->status = status;
    std::size_t size = std::min(message.size(), sizeof(error->message) - 1);
    if (size < message.size())
        while (size > 0 && (static_cast<unsigned char>(message[size]) & 0xc0) == 0x80) --size;
    if (size > 0) std::memcpy(error->message, message.data(), size);
    error->message[size] = 0;
    return status;
}

// Callers in the same process may see what clients of a server may not.
cachalot_status report(cachalot_error* error, const server::ApiError& failure) noexcept {
    if (!failure.cause) return report(error, status_of(failure), failure.what());
    try {
        std::rethrow_exception(failure.cause);
    } catch (...) {
        return report_current(error);
    }
}

cachalot_status report_current(cachalot_error* error) noexcept {
    try {
        throw;
    } catch (const CapiError& e) {
        return report(error, e.status, e.what());
    } catch (const server::ApiError& e) {
        return report(error, e);
    } catch (const OutOfMemory& e) {
        return report(error, CACHALOT_NO_MEMORY, e.what());
    } catch (const Error& e) {
        return report(error, CACHALOT_FAILED, e.what());
    } catch (const std::bad_alloc&) {
        return report(error, CACHALOT_NO_MEMORY, "there is not enough memory");
    } catch (const std::length_error&) {
        return report(error, CACHALOT_NO_MEMORY, "a size is beyond what memory can hold");
    } catch (const std::exception& e) {
        return report(error, CACHALOT_INTERNAL, e.what());
    } catch (...) {
        return report(error, CACHALOT_INTERNAL, "an exception of unknown type");
    }
}

}  // namespace cachalot::capi
