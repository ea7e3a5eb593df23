#include "engine/choose_device.h"

#include <algorithm>
#include <charconv>

#include "base/error.h"
#include "base/human_bytes.h"
#include "device/cuda_device.h"
#include "engine/memory_plan.h"
#include "engine/open_engine.h"
#include "layers/make_cuda_backend.h"
#include "model/cost.h"
#include "model/model.h"

namespace cachalot {
namespace {

constexpr std::string_view kCuda = "cuda";

// N of "cuda:N"; 0 of "cuda".
int card_number(const std::string& text) {
    if (text == kCuda) return 0;
    const std::string_view number = std::string_view(text).substr(std::min(text.size(), kCuda.size() + 1));
    int n = -1;
    const auto [stopped, error] = std::from_chars(number.data(), number.data() + number.size(), n);
    if (!text.starts_with("cuda:") || error != std::errc() || stopped != number.data() + number.size() ||
        n < 0)
        fail("'{}' is no device: auto, cpu, cuda or cuda:N are", text);
    return n;
}

// Throws for what a card cannot do.
void check_for_card(const OpenEngineOptions& o, const Model& model) {
    check_cuda_model(model.config, all_layers(model.config));
    constexpr const char* kRemedy = "not possible on a card yet; use --device cpu";
    if (o.expert_cache != "auto" && o.expert_cache != "off") fail("--expert-cache: {}", kRemedy);
    if (!o.expert_packs.empty()) fail("--expert-pack: {}", kRemedy);
    if (o.expert_heat != "off" && o.expert_heat != "auto") fail("--expert-heat: {}", kRemedy);
    if (drafting_of(o.draft) == Drafting::drafter) fail("--draft {}: {}", o.draft, kRemedy);
    if (o.observer) fail("watching the inputs of products: {}", kRemedy);
}

void check_room(const OpenEngineOptions& o, const Model& model, const Device& device) {
    const WeightBytes w = weight_bytes(model.config, model.weights);
    constexpr std::int64_t kUsual = 65536;  // tokens of a conversation whose length nobody said
    const auto context = std::min(o.context > 0 ? o.context : kUsual, model.config.context_length);
    const auto states = static_cast<std::uint64_t>(states_bytes(model.config, o.kv, context));
    const std::uint64_t weights = w.embedding + w.dense + w.shared_experts + w.routed_experts;
    constexpr std::uint64_t kBuffers = std::uint64_t(2) << 30;  // activations, graphs
    if (const auto free = device.free_memory(); free && weights + states + kBuffers > *free)
        fail(
            "weights of {}, attention states of {} and buffers of {} are more than the {} that are free "
            "there",
            human_bytes(weights), human_bytes(states), human_bytes(kBuffers), human_bytes(*free));
}

}  // namespace

void check_device_name(const std::string& text) {
    if (text != "auto" && text != "cpu") (void)card_number(text);
}

std::shared_ptr<Device> choose_device(const OpenEngineOptions& o, const Model& model) {
    if (o.device == "cpu") return nullptr;
    if (o.device != "auto") {
        auto device = make_cuda_device(card_number(o.device));
        check_for_card(o, model);
        return device;
    }
    if (cuda_cards().cards.empty()) return nullptr;
    try {
        auto device = make_cuda_device(0);
        check_for_card(o, model);
        check_room(o, model, *device);
        return device;
    } catch (const Error& e) {
        if (o.note) o.note(fmt::format("the card is not used: {}", e.what()));
        return nullptr;
    }
}

}  // namespace cachalot
