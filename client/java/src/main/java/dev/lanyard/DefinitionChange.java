package dev.lanyard;

import dev.lanyard.v1.Definition;

/**
 * A definition after a change that may end sessions.
 *
 * @param definition the definition
 * @param revokedCount how many live sessions ended
 */
public record DefinitionChange(Definition definition, long revokedCount) {}
