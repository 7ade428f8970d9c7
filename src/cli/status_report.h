// What the runs of a host say of themselves, for people and for programs.
#pragma once

#include <span>
#include <string>

#include "cli/status_query.h"

namespace ftvmm::cli {

// A line for each VM under a line of headings; no line for what did not answer but its name and
// why. All of them end in a newline.
[[nodiscard]] std::string render_table(std::span<const StatusAnswer> answers);
// All that one VM tells, a line each; requires a document.
[[nodiscard]] std::string render_details(const StatusAnswer& answer);
// The documents, an array; for what did not answer, an object with "name" and "problem".
[[nodiscard]] std::string render_documents(std::span<const StatusAnswer> answers);

}  // namespace ftvmm::cli
