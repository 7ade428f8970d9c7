// `ftvmm pki`: the cluster's own authority, and its hosts' certificates.
#pragma once

#include <chrono>
#include <string>

#include "base/result.h"

namespace ftvmm::cli {

struct PkiOptions {
    std::string path;  // The folder of the authority; for `show`, that of a host or a file too.
    std::string cluster = "ftvmm";
    std::string host;
    int days = 0;  // 0: as long as is usual.
    bool force = false;
};

// Each returns 0, or 1 with one line on standard error.

// A new authority.
int pki_init(const PkiOptions& options);
// A certificate for a host, and where its files have to go.
int pki_issue(const PkiOptions& options);
// What certificates say, and whether they are valid now.
int pki_show(const PkiOptions& options);

// What `show` prints about one certificate. `authority` is what it should be signed by, or empty.
Result<std::string> pki_report(const std::string& name, const std::string& pem,
                               const std::string& authority, std::chrono::sys_seconds now);

}  // namespace ftvmm::cli
