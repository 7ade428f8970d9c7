// `ftvmm doctor`: what this host can be used for.
#pragma once

#include <string>

namespace ftvmm::cli {

struct DoctorOptions {
    std::string device = "/dev/kvm";
    bool json = false;
};

// Examines the host and prints the report. Returns 0 if lockstep of a Linux guest is possible here,
// 1 if not, 2 if KVM cannot be used at all (one line on standard error says why).
int doctor(const DoctorOptions& options);

}  // namespace ftvmm::cli
