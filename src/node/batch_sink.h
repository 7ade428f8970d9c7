// Where a recording goes.
#pragma once

#include <vector>

#include "replay/recorder.h"

namespace ftvmm::node {

class BatchSink {
  public:
    BatchSink() = default;
    BatchSink(const BatchSink&) = delete;
    BatchSink& operator=(const BatchSink&) = delete;
    virtual ~BatchSink() = default;

    // In order, on the vCPU thread. Waits while too much of it waits to go on: so long the guest
    // stands still.
    virtual void append(std::vector<replay::ClosedBatch> batches) = 0;
};

}  // namespace ftvmm::node
