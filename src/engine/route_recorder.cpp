#include "engine/route_recorder.h"

#include <algorithm>

namespace cachalot {

RouteRecorder::RouteRecorder(const std::filesystem::path& path, const RouteHeader& header)
    : writer_(path, header),
      layers_(static_cast<std::size_t>(header.layers)),
      top_k_(static_cast<std::size_t>(header.top_k)) {
    writer_.flush();
}

// A state that is at its beginning has a new conversation.
std::uint32_t RouteRecorder::sequence_of(const KvState& state) {
    const auto [known, is_new] = sequences_.try_emplace(state.id(), 0);
    if (is_new || state.length() == 0) known->second = next_sequence_++;
    return known->second;
}

void RouteRecorder::begin(const Batch& batch) {
    const bool prompt = batch.has(RowsKind::prompt);
    tokens_.clear();
    for (const BatchRows& s : batch.sequences()) {
        const std::uint32_t sequence = sequence_of(*s.state);
        for (const std::int32_t token : batch.tokens().subspan(s.first, s.count))
            tokens_.push_back({token, sequence, prompt, !tokens_.empty()});
    }
    choices_.assign(tokens_.size() * layers_ * top_k_, kNoExpert);
}

void RouteRecorder::layer(int layer, std::span<const std::int32_t> experts) {
    for (std::size_t row = 0; row < tokens_.size(); ++row) {
        const auto chosen = experts.subspan(row * top_k_, top_k_);
        auto to = choices_.begin() +
                  static_cast<std::ptrdiff_t>((row * layers_ + static_cast<std::size_t>(layer)) * top_k_);
        for (auto e = chosen.begin(); e != chosen.end(); ++e)
            if (std::find(chosen.begin(), e, *e) == e) *to++ = static_cast<std::uint16_t>(*e);
    }
}

void RouteRecorder::commit() {
    const std::size_t choices = layers_ * top_k_;
    for (std::size_t row = 0; row < tokens_.size(); ++row)
        writer_.add(tokens_[row], std::span(choices_).subspan(row * choices, choices));
    writer_.flush();
}

}  // namespace cachalot
