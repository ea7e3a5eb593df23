#include "engine/model_drafter.h"

#include "base/error.h"
#include "engine/block_drafter.h"
#include "engine/mtp_drafter.h"

namespace cachalot {

std::unique_ptr<ModelDrafter> make_model_drafter(Engine& engine) {
    CACHALOT_CHECK(engine.drafter());
    if (engine.drafter()->kind == DrafterKind::mtp) return std::make_unique<MtpDrafter>(engine);
    return std::make_unique<BlockDrafter>(engine);
}

}  // namespace cachalot
