// The doctor's report as text and as JSON.
#pragma once

#include <string>
#include <vector>

#include "vmm/probe/finding.h"
#include "vmm/probe/jobs.h"

namespace ftvmm::cli {

// For people: the host, its capabilities, the proofs, and last the table of jobs.
std::string render_text(const HostReport& report, const std::vector<JobVerdict>& verdicts,
                        bool colour);

// For programs; the keys are part of ftvmm's interface (docs/doctor.md). Ends in a newline.
std::string render_json(const HostReport& report, const std::vector<JobVerdict>& verdicts);

}  // namespace ftvmm::cli
