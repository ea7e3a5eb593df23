#include "capi/engine.h"
#include "capi/output.h"
#include "engine/state_fingerprint.h"
#include "file/output_file.h"
#include "file/regular_file.h"
#include "file/user_folders.h"
#include "model/content_fingerprint.h"
#include "prefix/state_record.h"

namespace cachalot::capi {
namespace {

// Reads the whole model at the first time.
const ChainKey& fingerprint(cachalot_engine& engine) {
    std::lock_guard lock(engine.fingerprint_mutex);
    if (!engine.fingerprint) {
        auto& opened = engine.opened->engine;
        const auto model = content_fingerprint(opened.model(), {KeptHashes(default_hash_folder())});
        engine.fingerprint = state_fingerprint(opened, *model);
    }
    return *engine.fingerprint;
}

struct SavedState {
    Block block;
    std::size_t size = 0;
    std::int64_t length = 0;  // tokens

    std::span<const std::byte> bytes() const { return {block.get(), size}; }
};

// Answers go on while a state is written or read here: what is kept does not change. They stop only while it
// is looked for, or put among the others.

SavedState save(cachalot_engine& engine, std::span<const std::int32_t> tokens, const char* space) {
    const auto& key = fingerprint(engine);
    std::shared_ptr<const KvCheckpoint> state;
    engine.opened->service->between_passes(
        [&](Scheduler& scheduler) { state = scheduler.prefixes().find(space ? space : "", tokens).state; });
    if (!state) throw CapiError(CACHALOT_NOT_FOUND, "no state is kept of a beginning of these tokens");
    const KvCodec codec(engine.opened->engine.kv_pool());
    SavedState saved;
    saved.length = state->length;
    saved.size = record_bytes(codec, saved.length);
    saved.block = new_block(saved.size);
    write_state(codec, key, tokens.first(static_cast<std::size_t>(saved.length)), *state,
                {saved.block.get(), saved.size});
    return saved;
}

// What is not a state of this model throws Error in `check`.
template <class Check>
auto or_mismatch(const Check& check) {
    try {
        return check();
    } catch (const Error& e) {
        throw CapiError(CACHALOT_MISMATCH, e.what());
    }
}

StateRecord checked_record(cachalot_engine& engine, const KvCodec& codec, std::span<const std::byte> bytes) {
    const auto& key = fingerprint(engine);
    return or_mismatch([&] {
        StateRecord record(codec, key, bytes);
        for (const auto token : record.tokens())
            if (token < 0 || token >= engine.opened->engine.model().config.vocab_size)
                fail("the attention state has token {}, which is not in the vocabulary", token);
        return record;
    });
}

void check_length(const cachalot_engine& engine, std::int64_t length) {
    const auto context = engine.opened->engine.context();
    if (length > context)
        throw CapiError(
            CACHALOT_TOO_LONG,
            fmt::format("the attention state is of {} tokens, the context is {}", length, context));
}

std::int64_t load(cachalot_engine& engine, std::span<const std::byte> bytes, const char* space) {
    const KvCodec codec(engine.opened->engine.kv_pool());
    const auto record = checked_record(engine, codec, bytes);
    const auto length = static_cast<std::int64_t>(record.tokens().size());
    check_length(engine, length);
    auto state = record.state(codec);
    engine.opened->service->between_passes([&](Scheduler& scheduler) {
        if (!scheduler.adopt(space ? space : "", record.tokens(), std::move(state)))
            throw CapiError(CACHALOT_NO_MEMORY,
                            "options.kv_memory has no room for the attention state beside what is running");
    });
    return length;
}

// Nothing but the header is read of a file that cannot be a state of this model.
std::int64_t load_file(cachalot_engine& engine, const char* path, const char* space) {
    const RegularFile file(path);
    std::byte header[kRecordHeader];
    const auto known = std::span(header).first(std::min<std::uint64_t>(file.size(), kRecordHeader));
    file.read(0, known);
    const auto& key = fingerprint(engine);
    const KvCodec codec(engine.opened->engine.kv_pool());
    check_length(engine, or_mismatch([&] { return check_record_header(codec, key, known, file.size()); }));
    const auto size = static_cast<std::size_t>(file.size());
    const auto block = new_block(size);
    file.read(0, {block.get(), size});
    return load(engine, {block.get(), size}, space);
}

}  // namespace
}  // namespace cachalot::capi

using namespace cachalot::capi;

cachalot_status cachalot_state_save(cachalot_engine* engine, const int32_t* tokens, size_t count,
                                    const char* space, cachalot_bytes* bytes, int64_t* length,
                                    cachalot_error* error) {
    if (bytes) *bytes = {};
    if (length) *length = 0;
    return guarded(error, [&] {
        need(engine, "engine");
        need(bytes, "bytes");
        const auto ids = elements(tokens, count, "tokens");
        CallbackScope::refuse("cachalot_state_save");
        auto state = save(*engine, ids, space);
        *bytes = {state.block.release(), state.size};
        if (length) *length = state.length;
    });
}

cachalot_status cachalot_state_save_file(cachalot_engine* engine, const int32_t* tokens, size_t count,
                                         const char* space, const char* path, int64_t* length,
                                         cachalot_error* error) {
    if (length) *length = 0;
    return guarded(error, [&] {
        need(engine, "engine");
        need(path, "path");
        const auto ids = elements(tokens, count, "tokens");
        CallbackScope::refuse("cachalot_state_save_file");
        const auto state = save(*engine, ids, space);
        cachalot::OutputFile file(path);
        file.write(state.bytes());
        file.commit();
        if (length) *length = state.length;
    });
}

cachalot_status cachalot_state_load(cachalot_engine* engine, const void* bytes, size_t size,
                                    const char* space, int64_t* length, cachalot_error* error) {
    if (length) *length = 0;
    return guarded(error, [&] {
        need(engine, "engine");
        const auto record = elements(static_cast<const std::byte*>(bytes), size, "bytes");
        CallbackScope::refuse("cachalot_state_load");
        const auto found = load(*engine, record, space);
        if (length) *length = found;
    });
}

cachalot_status cachalot_state_load_file(cachalot_engine* engine, const char* path, const char* space,
                                         int64_t* length, cachalot_error* error) {
    if (length) *length = 0;
    return guarded(error, [&] {
        need(engine, "engine");
        need(path, "path");
        CallbackScope::refuse("cachalot_state_load_file");
        const auto found = load_file(*engine, path, space);
        if (length) *length = found;
    });
}
