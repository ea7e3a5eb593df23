#include "model/content_fingerprint.h"

#include <fmt/format.h>

#include <chrono>

#include "file/change_watch.h"
#include "model/fingerprint.h"

namespace cachalot {
namespace {

// Once records that carry the fingerprint are to be found again, neither this nor what follows it may change.
constexpr int kVersion = 1;

std::int64_t now() {
    using namespace std::chrono;
    return duration_cast<nanoseconds>(system_clock::now().time_since_epoch()).count();
}

void add(Hasher128& hasher, std::string_view text) {
    const auto size = static_cast<std::uint64_t>(text.size());
    hasher.add(std::as_bytes(std::span(&size, 1)));
    hasher.add(std::as_bytes(std::span(text)));
}

}  // namespace

Hash128 tokenizer_fingerprint(const Tokenizer& tokenizer) {
    const TokenizerData& data = tokenizer.data();
    Hasher128 hasher;
    add(hasher, fmt::format("{} {} {} {} {}", data.tokens.size(), data.types.size(), data.merges.size(),
                            data.bos, data.eos));
    for (const auto& token : data.tokens) add(hasher, token);
    for (const auto& merge : data.merges) add(hasher, merge);
    hasher.add(std::as_bytes(std::span(data.types)));
    return hasher.hash();
}

std::optional<Hash128> content_fingerprint(const Model& model, const ContentFingerprintOptions& options) {
    const auto files = model.checkpoint->files();
    ChangeWatch watch(files);
    std::uint64_t total = 0, before = 0;
    for (const MappedFile& file : files) total += file.size();

    Hasher128 all;
    add(all, fmt::format("{}", kVersion));
    add(all, config_identity(model.config));
    all.add(tokenizer_fingerprint(model.tokenizer));
    for (const MappedFile& file : files) {
        auto hash = options.kept.find(file.stamp());
        if (!hash) {
            const auto begun = now();
            hash = content_hash(file, [&](std::uint64_t done) {
                return !options.progress || options.progress(before + done, total);
            });
            if (!hash) return std::nullopt;
            watch.check();
            options.kept.keep(file.stamp(), *hash, begun);
        }
        all.add(*hash);
        before += file.size();
    }
    watch.check();
    return all.hash();
}

}  // namespace cachalot
