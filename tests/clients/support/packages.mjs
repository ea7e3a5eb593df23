// Lets the tests import packages that are installed outside of the source tree: node --import this file, with
// CLIENT_PACKAGES naming the folder that holds node_modules.
import {register} from 'node:module';
import {pathToFileURL} from 'node:url';

const parent = pathToFileURL(`${process.env.CLIENT_PACKAGES}/package.json`).href;
const hook = `
export function resolve(name, context, next) {
    const ours = /^file:.*\\/tests\\/clients\\//.test(context.parentURL ?? '');
    const bare = !/^([./]|[a-z]+:)/.test(name);
    return next(name, ours && bare ? {...context, parentURL: ${JSON.stringify(parent)}} : context);
}`;
register(`data:text/javascript,${encodeURIComponent(hook)}`);
