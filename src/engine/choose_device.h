// Which processor computes: the host, or a card.
#pragma once

#include <memory>
#include <string>

#include "device/device.h"

namespace cachalot {

struct OpenEngineOptions;
struct Model;

// Throws Error for a text that is not "auto", "cpu", "cuda" or "cuda:N".
void check_device_name(const std::string& text);

// The card that OpenEngineOptions::device names, "cuda" being the first; null for the host's processor.
// "auto": the first card, if there is one that can compute this model with these options and has room for it;
// if there is one that cannot, a note says why. Throws Error if a card is named that is not there, or that
// cannot do what else is asked for.
std::shared_ptr<Device> choose_device(const OpenEngineOptions& options, const Model& model);

}  // namespace cachalot
